package httpapi

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"patientgraph/internal/wait"
)

// TestAListRewrittenInPlaceIsReadAgain though its size and its time are as before.
func TestAListRewrittenInPlaceIsReadAgain(t *testing.T) {
	t.Parallel()
	list := fmt.Sprintf(`{"1": %q}`, unlisted)
	tr := newTrusting(t, list, true, Options{})
	before, err := os.Stat(tr.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tr.file, []byte(strings.Replace(list, "Other", "Owner", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(tr.file, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	tr.clock.Pass(trustedLookEvery)
	if code := tr.code(t, sent(unlisted)); code != "BAD_USER_INPUT" {
		t.Errorf("what is listed no more: %q", code)
	}
}

// TestAListThatTakesLongHoldsNobodyUp reads one that never ends.
func TestAListThatTakesLongHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	tr := newTrusting(t, manifest(t, "apollo-manifest.json"), true, Options{})
	if err := os.Remove(tr.file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(tr.file, 0o600); err != nil {
		t.Fatal(err)
	}
	tr.clock.Pass(trustedLookEvery)
	for range 3 {
		if code := tr.code(t, sent(listedMe)); code != "" {
			t.Errorf("meanwhile: %q", code)
		}
		if code := tr.code(t, sent(unlisted)); code != "BAD_USER_INPUT" {
			t.Errorf("meanwhile: %q", code)
		}
		tr.clock.Pass(trustedLookEvery)
	}
	if err := os.WriteFile(tr.file, fmt.Appendf(nil, `{"1": %q}`, unlisted), 0o600); err != nil { // it is read at last
		t.Fatal(err)
	}
	wait.Until(t, "the new list is there", func() bool { return tr.code(t, sent(unlisted)) == "" })
}
