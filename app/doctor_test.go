package app_test

import (
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/internal/locked"
)

// TestDoctorNamesASettingAsItWasGiven: by its variable, or by its flag.
func TestDoctorNamesASettingAsItWasGiven(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ args, settings []string }{
		"PLAYGROUND":   {nil, []string{"PLAYGROUND=maybe"}},
		"--playground": {[]string{"--playground=maybe"}, nil},
	} {
		var out, log locked.Buffer
		err := Run(t.Context(), append([]string{"doctor"}, c.args...), &out, &log, c.settings...)
		if err == nil || err.Error() != "doctor: failed checks: 1" {
			t.Errorf("%s: doctor ended with %v", name, err)
		}
		if !strings.HasPrefix(out.String(), "FAIL  settings: "+name+": bool value must be true, ") {
			t.Errorf("%s: doctor said %s", name, out.String())
		}
	}
}
