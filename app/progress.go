package app

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress tells how far a command is: by a bar on a terminal, else by a line of the log
// from time to time. It is not safe for concurrent use.
type progress struct {
	what  string
	total int // -1: not known
	done  int
	bar   *progressbar.ProgressBar // nil: there is no terminal
	log   *slog.Logger
	now   func() time.Time
	told  time.Time
}

// progressEvery is between two lines of the log.
const progressEvery = 10 * time.Second

// newProgress begins to tell of total things, -1 if nobody knows how many.
func newProgress(p *program, what string, total int) *progress {
	g := &progress{what: what, total: total, log: p.log, now: time.Now, told: time.Now()}
	if isTerminal(p.stderr) {
		g.bar = progressbar.NewOptions(total, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(p.stderr),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return g
}

// add tells that n more are done.
func (g *progress) add(n int) {
	g.done += n
	if g.bar != nil {
		_ = g.bar.Add(n) // more than the total: rows came meanwhile
		return
	}
	if now := g.now(); now.Sub(g.told) >= progressEvery {
		g.told = now
		attributes := []any{"done", g.done}
		if g.total >= 0 {
			attributes = append(attributes, "of", g.total)
		}
		g.log.Info(g.what, attributes...)
	}
}

// clear makes room for a line that is printed meanwhile.
func (g *progress) clear() {
	if g.bar != nil {
		_ = g.bar.Clear() // it is a picture
	}
}

// end takes the bar away.
func (g *progress) end() {
	if g.bar != nil {
		_ = g.bar.Finish()
	}
}

func isTerminal(w io.Writer) bool {
	file, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}
