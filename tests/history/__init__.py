"""Did the system keep its promises? The evidence of an experiment, and the checker that decides the twelve invariants on it.

    recorder = Recorder(stack)                         # a client that remembers everything that it was told
    ids = await recorder.post_many(prompts)
    ...                                                # whatever the experiment breaks
    await recorder.all_finished(seconds=120)
    violations = check(await collect(stack, recorder))
    assert not violations, "\\n".join(map(str, violations))

`evidence.save(folder)` keeps it, and `python -m history FOLDER` prints the verdict on what was kept.
"""
