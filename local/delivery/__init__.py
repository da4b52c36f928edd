"""Runs what the templates declare and moto does not: functions, event sources, rules, schedules, notifications.

The dispatcher looks at every source a few times a second, in this process and without a request, and hands a source
that has something to do to a thread: a queue or a shard to its function, an event to the target of its rule, the
records of a stream to its bucket. Functions run in workers that are forked on demand and end when idle. Whatever is
declared and cannot be carried out here stops the run with its name: it is never quietly left out.

Streams, queues and asynchronous calls start empty at each start, so places in a stream are kept in memory only.
"""
