async def test_smoke(postgres_url):
    from jobs.database import Database
    from jobs.store import Store, NewJob, ClaimCall, Report
    from jobs.timing import Timing
    import uuid, asyncpg
    db = Database(postgres_url, 4)
    store = Store(db, Timing(), max_attempts=4, time_scale=1)
    t = uuid.uuid4()
    await db.fetch("INSERT INTO tenants (id,name,signing_secret) VALUES ($1,'a','x')", t)
    await db.fetch("INSERT INTO lanes VALUES ('default',600,3000,10,10) ON CONFLICT DO NOTHING")
    j = NewJob(uuid.uuid4(), t, 'k', b'1', 'p', 'o/m', '{"seed": 12345678901234567890}', '{}', 0, 100.0, None, None)
    print(await store.create([j], 0)); print(await store.create([j], 0))
    print(await store.known_keys([(t,'k')])); print(await store.get([(t, j.id)]))
    w = uuid.uuid4()
    print(await store.note_workers([(w, 10, 10, False, 50, False)]))
    print(await store.ring())
    print(await store.claim([ClaimCall(w, (j.id,), 5, False)]))
    print(await store.heartbeat([(w, j.id, 1, 0.5, 'processing')]))
    i = uuid.uuid4()
    for verb, kw in (('intend', {}), ('intend', {}), ('created', dict(prediction_ids='pp')), ('created', dict(prediction_ids='pp')), ('complete', dict(prediction_ids='pp', outputs='[{"object_key": "a"}]'))):
        print(await store.transition([Report(j.id, verb, 'w', w, 1, i, **kw)]))
    print(await store.claim_due(w, 5, False))
    print(await store.sweep())
    print(await store.get([(t, j.id)]))
    await store.forget(5)
    await db.close()
