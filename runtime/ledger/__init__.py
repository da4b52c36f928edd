"""Projects the event feed into Aurora: postings, orders, trades."""
