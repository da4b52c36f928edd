"""What a customer holds, what it cost and what it earned; and the statement of each month."""
