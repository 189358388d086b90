package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
)

// TestGraphiQL drives the page at / in Chromium: in the demo, and below a path of a
// hospital's server that shows its schema to nobody without a token. GRAPHIQL_IMAGES names
// a folder for pictures of it; docs/images has one of them.
func TestGraphiQL(t *testing.T) {
	t.Parallel()
	files := clientFiles(t)
	chromium := os.Getenv("TEST_CHROMIUM")
	if chromium == "" {
		t.Skip("needs a browser: set TEST_CHROMIUM to the path of a Chromium binary")
	}
	images := os.Getenv("GRAPHIQL_IMAGES")
	if images != "" {
		images, _ = filepath.Abs(images)
	}
	hospital := StartSystem(t, dbtest.SQLite(t), "PLAYGROUND=true", "INTROSPECTION=false", "BASE_PATH=/apps/records")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "graphiql.js")
	cmd.Dir = files
	cmd.Env = append(os.Environ(), "CHROMIUM="+chromium, "DEMO="+Start(t).URL, "HOSPITAL="+hospital.URL+"/apps/records", "IMAGES="+images,
		"TOKEN="+TokenOf(t, Object{"role": auth.RoleAnalyst, "sub": "analyst"}), "SHORT="+TokenOf(t, Object{"role": auth.RoleAnalyst, "sub": "analyst", "exp": 1}))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
