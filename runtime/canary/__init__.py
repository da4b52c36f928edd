"""The canary: a customer of our own, who trades every minute, so that we hear first when nobody can."""
