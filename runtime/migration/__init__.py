"""What comes from the exchange that this one replaces: checked to the last unit before anything is posted."""
