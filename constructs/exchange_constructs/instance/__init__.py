"""Files that an EC2 instance gets at its first start."""
