package main

import (
	"context"
	"strings"
	"testing"

	"patientgraph/auth"
)

// TestTokenTakesEveryRole: its help names the roles of the table, and it signs
// for each of them and for no other.
func TestTokenTakesEveryRole(t *testing.T) {
	t.Parallel()
	command := func(args ...string) (string, error) {
		var out, log syncBuffer
		err := run(context.Background(), append([]string{"token"}, args...), func(name string) string {
			return map[string]string{"JWT_SECRET": testSecret}[name]
		}, &out, &log)
		return out.String(), err
	}
	help, err := command("--help")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(help), " "), "Role of the viewer: "+strings.Join(auth.Roles(), ",")) {
		t.Errorf("the help does not name the roles (%v):\n%s", err, help)
	}
	for _, role := range auth.Roles() {
		if out, err := command("--role", role, "--patient", number); err != nil || strings.Count(out, ".") != 2 {
			t.Errorf("--role %s: %q, %v", role, out, err)
		}
	}
	if out, err := command("--role", "janitor"); err == nil {
		t.Errorf("a role that the table does not have: %q", out)
	}
}
