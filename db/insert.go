package db

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
)

// intoRows is a table, and the columns of it that new rows bring.
type intoRows struct {
	table   string
	columns []string
}

func intoTable(table, columns string) *intoRows {
	return &intoRows{table, strings.Split(columns, ", ")}
}

// statement inserts so many rows.
func (into *intoRows) statement(verb string, rows int) string {
	row := "(" + strings.Repeat("?, ", len(into.columns)-1) + "?), "
	return verb + " INTO " + into.table + " (" + strings.Join(into.columns, ", ") + ") VALUES " + strings.TrimSuffix(strings.Repeat(row, rows), ", ")
}

// valuesAtOnce is about how many values one statement inserts: a longer one takes more
// time to be prepared than it saves.
const valuesAtOnce = 500

// insert prepares one statement for most of the rows. OR FAIL: else SQLite keeps each page
// that a statement of several rows changes as it was, so that a row that fails takes those
// before it along. With us it ends the transaction (see work).
func (sqlite) insert(ctx context.Context, tx bun.Tx, into *intoRows, values []any) error {
	most := valuesAtOnce/len(into.columns) + 1
	for len(values) > 0 {
		rows := min(most, len(values)/len(into.columns))
		st, err := tx.Tx.PrepareContext(ctx, into.statement("INSERT OR FAIL", rows))
		if err != nil {
			return err
		}
		for size := rows * len(into.columns); err == nil && len(values) >= size; values = values[size:] {
			_, err = st.ExecContext(ctx, values[:size]...)
		}
		if err = errors.Join(err, st.Close()); err != nil {
			return err
		}
	}
	return nil
}

// insert sends a few rows as one statement, for that is one round trip, and more by COPY.
func (p *postgres) insert(ctx context.Context, tx bun.Tx, into *intoRows, values []any) (err error) {
	switch rows := len(values) / len(into.columns); {
	case rows == 0:
	case len(values) <= valuesAtOnce/10:
		_, err = tx.Tx.ExecContext(ctx, p.translate(into.statement("INSERT", rows)), p.once(values)...)
	default:
		_, err = tx.Tx.ExecContext(ctx, "", copyRows{into, values})
	}
	return err
}

// copyRows writes rows by COPY in place of a statement: pgx shows its connection, which
// database/sql keeps to itself, to whoever rewrites one.
type copyRows struct {
	into   *intoRows
	values []any
}

// RewriteQuery implements pgx.QueryRewriter.
func (r copyRows) RewriteQuery(ctx context.Context, conn *pgx.Conn, empty string, _ []any) (string, []any, error) {
	n := len(r.into.columns)
	rows := pgx.CopyFromSlice(len(r.values)/n, func(row int) ([]any, error) { return r.values[row*n : (row+1)*n], nil })
	_, err := conn.CopyFrom(ctx, pgx.Identifier{r.into.table}, r.into.columns, rows)
	return empty, nil, err
}
