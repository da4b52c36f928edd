"""Takes an applicant from registration to an open account, or to a refusal with reasons."""
