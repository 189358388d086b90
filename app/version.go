package app

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"patientgraph/db"
)

type versionCommand struct{}

// Run prints what the program was built from, as Go has written it into the binary.
func (versionCommand) Run(p *program) error {
	version, commit := "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			version = info.Main.Version
		}
		commit = commitOf(info.Settings)
	}
	_, err := fmt.Fprintf(p.stdout, "patientgraph %s\ncommit %s\n%s\nschema version %d\n", version, commit, runtime.Version(), db.SchemaVersion())
	return err
}

func commitOf(settings []debug.BuildSetting) string {
	commit, changed := "unknown", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return commit + changed
}
