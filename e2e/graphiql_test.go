package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
)

// TestGraphiQL drives the page at / in Chromium: in the demo, and below a path of a
// hospital's server that shows its schema to nobody without a token. GRAPHIQL_IMAGES names
// a folder for pictures of it; docs/images has one of them.
func TestGraphiQL(t *testing.T) {
	t.Parallel()
	files, images := clientFiles(t), os.Getenv("GRAPHIQL_IMAGES")
	if images != "" {
		var err error
		if images, err = filepath.Abs(images); err != nil {
			t.Fatal(err)
		}
	}
	hospital := StartSystem(t, dbtest.SQLite(t), "PLAYGROUND=true", "INTROSPECTION=false", "BASE_PATH=/apps/records")
	runPage(t, files, "page/graphiql.js", "DEMO="+Start(t).URL, "HOSPITAL="+hospital.URL+"/apps/records", "IMAGES="+images,
		"TOKEN="+TokenOf(t, Object{"role": auth.RoleAnalyst, "sub": "analyst"}), "SHORT="+TokenOf(t, Object{"role": auth.RoleAnalyst, "sub": "analyst", "exp": 1}))
}
