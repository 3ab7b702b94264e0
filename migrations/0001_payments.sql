-- The payments of one region. Rows are inserted and read, never updated; `prune` removes old ones.

CREATE TABLE payments (
    -- A UUIDv7, made by the service before the first attempt: a repeated attempt cannot write twice,
    -- and inserts go to the right end of the index. `prune` walks along it from the left.
    transaction_id uuid PRIMARY KEY,
    idempotency_key text COLLATE "C"
        CHECK (octet_length(idempotency_key) BETWEEN 1 AND 255),
    -- SHA-256 of the request's parameters: tells a replay from another request under the same key.
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    -- The exact amount is amount_minor / 10 ^ amount_exponent.
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    amount_exponent smallint NOT NULL CHECK (amount_exponent BETWEEN 0 AND 4),
    -- ISO 4217.
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    region text COLLATE "C" NOT NULL CHECK (region <> ''),
    status text COLLATE "C" NOT NULL CHECK (status IN ('approved', 'declined')),
    processing_ms integer NOT NULL CHECK (processing_ms BETWEEN 0 AND 60000),
    -- now() is the start of the transaction, so that all payments of one commit have one time, and
    -- it costs nothing. A replay answers with this stored value, whichever clock made it.
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Partial, so that a payment without a key writes no entry; NULLs never conflict anyway.
CREATE UNIQUE INDEX payments_idempotency_key ON payments (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
