"""The job protocol as a model, in which everything that can happen is tried: every order of steps, crashes, lost and late answers.

    checker.py     visits every state, and shows the shortest way to what must not be; knows nothing of jobs
    service.py     the job's side: the rows of jobs/states.py, with the guards of sql/transition.sql
    rules.py       the protocol as it is, and what of it a variant may change
    world.py       a state: jobs, workers, predictions, POSTs on their way, faults still to come
    actors.py      what the user, time and the provider can do
    workers.py     what a worker can do, step by step
    invariants.py  what must never be
    variants.py    the protocol in several worlds, and each mistake with what it breaks

`make model` prints what each variant comes to, with the trace of what is broken. It assumes what the protocol assumes: a report is
atomic, and once an intent's settle time has passed its POST makes nothing any more and Replicate's list shows what it made.
"""
