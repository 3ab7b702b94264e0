// The same payment as the service's, with net/http and pgxpool as they are commonly used.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

const insert = `INSERT INTO payments (transaction_id, idempotency_key, request_hash, amount_minor,
	amount_exponent, currency, region, status, processing_ms)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING created_at`

type payment struct {
	TransactionID    uuid.UUID `json:"transaction_id"`
	Status           string    `json:"status"`
	Amount           string    `json:"amount"`
	Currency         string    `json:"currency"`
	Region           string    `json:"region"`
	ProcessingTimeMs int       `json:"processing_time_ms"`
	DatabaseTimeMs   float64   `json:"database_time_ms"`
	Timestamp        time.Time `json:"timestamp"`
}

type app struct {
	pool *pgxpool.Pool
	key  [sha256.Size]byte
}

func (a *app) simulate(w http.ResponseWriter, r *http.Request) {
	presented := sha256.Sum256([]byte(r.Header.Get("X-API-Key")))
	if subtle.ConstantTimeCompare(presented[:], a.key[:]) != 1 {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	query := r.URL.Query()
	amount, currency := query.Get("amount"), query.Get("currency")
	if amount == "" {
		amount = "100.00"
	}
	if currency == "" {
		currency = "EUR"
	}
	minor, err := strconv.ParseInt(strings.Replace(amount, ".", "", 1), 10, 64)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	hash := sha256.Sum256([]byte(amount + currency))
	id, err := uuid.NewV7()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	began := time.Now()
	var createdAt time.Time
	err = a.pool.QueryRow(r.Context(), insert, id, nil, hash[:], minor, int16(2), currency, "local", "approved",
		int32(0)).Scan(&createdAt)
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, err := json.Marshal(payment{id, "approved", amount, currency, "local", 0,
		float64(time.Since(began).Microseconds()) / 1e3, createdAt.UTC()})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

func read(variable string) string {
	content, err := os.ReadFile(os.Getenv(variable))
	if err != nil {
		log.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func main() {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(read("DATABASE_URL_FILE"))
	if err != nil {
		log.Fatal(err)
	}
	size, err := strconv.ParseInt(os.Getenv("POOL_SIZE"), 10, 32)
	if err != nil {
		log.Fatal(err)
	}
	config.MinConns, config.MaxConns = int32(size), int32(size)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	// All connections are open and prepared before the first request, as the service's are.
	var connections []*pgxpool.Conn
	for range size {
		connection, err := pool.Acquire(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := connection.Conn().Prepare(ctx, insert, insert); err != nil {
			log.Fatal(err)
		}
		connections = append(connections, connection)
	}
	for _, connection := range connections {
		connection.Release()
	}
	a := &app{pool, sha256.Sum256([]byte(read("API_SECRET_KEY_FILE")))}
	http.HandleFunc("GET /api/payment/simulate", a.simulate)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
