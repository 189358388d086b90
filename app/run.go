package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"patientgraph/auth"
	"patientgraph/fhir"
	"patientgraph/httpapi"
	"patientgraph/resolvers"

	"github.com/alecthomas/kong"
)

// Run is the whole program: it reads the settings from args and getenv, does
// what the command says, and returns when that is done or ctx has ended, FHIR_TIMEOUT and
// endGrace later at most.
func Run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = resolvers.Panic(cause)
		}
	}()
	var c cli
	exited := false
	parser, err := kong.New(&c,
		kong.Name("patientgraph"), kong.Description("A GraphQL server in front of a FHIR R4 server."),
		kong.Resolvers(environment(getenv)), kong.Writers(stdout, stderr),
		kong.Vars{"roles": strings.Join(auth.Roles(), ","), "fhir_servers": strings.Join(fhir.Servers(), ",")},
		kong.ExplicitGroups([]kong.Group{{Key: "settings", Title: "Settings, each also an environment variable (--jwt-secret is JWT_SECRET):"}}),
		kong.Exit(func(int) { exited = true }))
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	if exited { // --help
		return nil
	}
	if err == nil {
		err = givenTwice(command, getenv)
	}
	if err != nil {
		told := namedAsGiven(err, args)
		if isDoctor(command, err) {
			return reportUnread(stdout, args, told)
		}
		return told
	}
	c.complete()
	p := &program{ctx: ctx, config: &c.Config, getenv: getenv, log: newLog(&c.Config, stderr), stdout: stdout, stderr: stderr}
	quietDefaultLog(p.log)
	return endWithin(ctx, c.FHIRTimeout+endGrace, func() error { return command.Run(p) })
}

// program is what every command has at hand.
type program struct {
	ctx    context.Context // of the process: kong hands its commands one value
	config *Config
	getenv func(string) string
	log    *slog.Logger
	stdout io.Writer
	stderr io.Writer
}

// newLog writes JSON, or text on a terminal.
func newLog(c *Config, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of the words that kong let through
	options := &slog.HandlerOptions{Level: level}
	if isText(c.LogFormat, w) {
		return slog.New(httpapi.LogHandler(slog.NewTextHandler(w, options)))
	}
	return slog.New(httpapi.LogHandler(slog.NewJSONHandler(w, options)))
}

func isText(logFormat string, w io.Writer) bool {
	return logFormat == "text" || logFormat != "json" && isTerminal(w)
}

// WriteFatal writes the error that Run returned: as a line of the log, which may be all
// that is kept of stderr, or for who sits at a terminal as plain text.
func WriteFatal(args []string, getenv func(string) string, stderr io.Writer, err error) {
	if isText(wantedFormat(args, getenv), stderr) {
		fmt.Fprintln(stderr, "patientgraph:", err)
		return
	}
	slog.New(slog.NewJSONHandler(stderr, nil)).Error("ended by an error", "error", err)
}

// wantedFormat reads LOG_FORMAT as kong would have: the error may be that it could not.
func wantedFormat(args []string, getenv func(string) string) string {
	format := getenv("LOG_FORMAT")
	for n, arg := range args {
		name, value, given := strings.Cut(arg, "=")
		switch {
		case name != "--log-format":
		case given:
			format = value
		case n+1 < len(args):
			format = args[n+1]
		}
	}
	return format
}
