"""How somebody leaves: the closure of an account, and the hand-over of all accounts to another trader."""
