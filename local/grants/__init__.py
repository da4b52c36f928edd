"""Judges every data-plane call that a process makes to the embedded AWS, by the policies that the templates resolve to.

moto lets everyone do everything. Here the access key of a call tells its role, and identity policies, boundaries and
the policies of keys, queues, topics, buckets, buses, secrets and functions decide as they would in AWS; what they do
not grant is refused, naming role, action and resource. Each different call is recorded once, so that afterwards it can
be told which statements a whole run never needed.
"""
