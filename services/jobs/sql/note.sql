-- Stores what webhooks said, each once, and of one intent no more than $5. In order, as two instances may be told the same.
INSERT INTO provider_inbox (webhook_id, intent_id, prediction_id, ended)
SELECT n.webhook_id, n.intent_id, n.prediction_id, n.ended
FROM (
    SELECT t.*, row_number() OVER (PARTITION BY t.intent_id ORDER BY t.ord) AS turn
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bool[]) WITH ORDINALITY AS t (webhook_id, intent_id, prediction_id, ended, ord)
) n
WHERE (SELECT count(*) FROM provider_inbox i WHERE i.intent_id = n.intent_id) + n.turn <= $5
ORDER BY n.webhook_id
ON CONFLICT DO NOTHING
