package db

import (
	"context"
	"fmt"
	"testing"

	"github.com/uptrace/bun"

	"patientgraph/db/dbtest"
)

// Rows go in by different ways, as many as there are, and a row that fails takes all of
// the transaction along.
func TestInsert(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres, "pooler": dbtest.Pooler} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s := context.Background(), openStore(t, open(t))
			insert := func(values []any) error {
				return s.inTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return s.insert(ctx, tx, intoPhones, values) })
			}
			want := 0
			for _, rows := range []int{0, 1, 20, 1000, 1007} {
				var values []any
				for row := range rows {
					values = append(values, fmt.Sprintf("%d of %d", row, rows), "P-1")
				}
				if err := insert(values); err != nil {
					t.Fatalf("%d rows: %v", rows, err)
				}
				want += rows
				if rows > 1 {
					values[0] = "new"
					if insert(values) == nil {
						t.Errorf("%d rows: those that are there already were taken", rows)
					}
				}
			}
			if stored, err := s.number(ctx, "SELECT count(*) FROM patient_phones"); err != nil || stored != want {
				t.Errorf("%d rows instead of %d (%v)", stored, want, err)
			}
		})
	}
}
