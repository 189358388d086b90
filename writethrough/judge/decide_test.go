package judge

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/rulings.txt")

// field is one argument of Decide: its values in the words of rulings.txt.
type field struct {
	name   string
	values []string
	set    func(c *Case, n int)
}

func flagged(name, no, yes string, to func(c *Case) *bool) field {
	return field{name, []string{no, yes}, func(c *Case, n int) { *to(c) = n == 1 }}
}

func oneOf[T ~string](name string, to func(c *Case) *T, values ...T) field {
	f := field{name: name, set: func(c *Case, n int) { *to(c) = values[n] }}
	for _, v := range values {
		if v == "" {
			v = "nothing"
		}
		f.values = append(f.values, strings.ToLower(strings.ReplaceAll(string(v), "_", " ")))
	}
	return f
}

// fields are in the order in which rulings.txt shows them.
var fields = []field{
	oneOf("heard", func(c *Case) *Heard { return &c.Heard }, Nothing, NotSent, Shown, OK, Unchanged, Created, Conflict, Busy, Refused, Forbidden, Gone, Denied),
	flagged("sent before", "-", "yes", func(c *Case) *bool { return &c.Earlier }),
	oneOf("when", func(c *Case) *When { return &c.When }, AtOnce, Early, Late, VeryLate),
	oneOf("read", func(c *Case) *Read { return &c.Read }, Seen, SeenGone, SeenDenied, Unread),
	oneOf("fate", func(c *Case) *Fate { return &c.Fate }, NotSeen, Landed, Overwritten, Recreated, Absent, Alike, Partly, Altered),
	oneOf("history", func(c *Case) *History { return &c.History }, Silent, Told, Failing, Unanswered),
	{"version", []string{"same", "moved", "unversioned", "unversioned moved"}, func(c *Case, n int) { c.Versions, c.Moved = n < 2, n%2 == 1 }},
	flagged("outdated", "-", "yes", func(c *Case) *bool { return &c.Outdated }),
	flagged("followed by", "-", "others", func(c *Case) *bool { return &c.ByOthers }),
	flagged("wait", "-", "asked", func(c *Case) *bool { return &c.Wait }),
	flagged("was gone", "-", "yes", func(c *Case) *bool { return &c.WasGone }),
}

// possible reports whether a case does not contradict itself.
func possible(c Case) bool {
	moved := c.Versions && c.Moved
	switch {
	case (c.Read == Seen) != (c.Fate != NotSeen), c.Read != Seen && (c.Moved || c.History != Silent):
		return false
	case c.Heard == Shown && c.Read == Seen && (c.History != Silent || c.Fate == Overwritten || c.Fate == Recreated || c.Fate == Alike || !c.Moved):
		return false // what the answer shows is read without a history
	case c.Heard == Shown && c.Read != Seen && c.Read != Unread:
		return false
	case c.Heard == NotSent && c.Read != Unread:
		return false // nobody looks
	case c.History != Silent && !moved:
		return false // the history is only asked when the version has moved
	case c.Fate == Overwritten && c.History != Told, c.Fate == Recreated && (c.History != Silent || !moved):
		return false
	case c.ByOthers && (!c.Outdated || c.History != Told):
		return false // it is only compared then
	case c.Read == SeenDenied && (c.When != AtOnce || c.Heard != Denied && c.Heard != Forbidden):
		return false
	case c.When != AtOnce && (c.Earlier || c.Outdated || c.ByOthers || c.Wait || c.Moved && !c.Versions || c.Heard == NotSent || c.Heard == Shown):
		return false // what the journal does not keep
	case c.When == AtOnce && c.WasGone:
		return false
	}
	return true
}

// walk calls visit with every possible case.
func walk(visit func(c Case)) {
	var c Case
	var next func(n int)
	next = func(n int) {
		if n == len(fields) {
			if possible(c) {
				visit(c)
			}
			return
		}
		for v := range fields[n].values {
			fields[n].set(&c, v)
			next(n + 1)
		}
	}
	next(0)
}

// Every case that can be, against what docs/write-through.md promises.
func TestEveryRulingKeepsThePromises(t *testing.T) {
	cases, failed := 0, 0
	walk(func(c Case) {
		cases++
		r := Decide(c)
		for _, broken := range brokenBy(c, r) {
			if failed++; failed < 20 {
				t.Errorf("%s: %+v\n\tis ruled %+v", broken, c, r)
			}
		}
	})
	t.Logf("%d cases", cases)
	if cases < 4000 {
		t.Errorf("only %d cases", cases)
	}
}

// brokenBy names the promises that a ruling breaks.
func brokenBy(c Case, r Ruling) (broken []string) {
	check := func(holds bool, promise string) {
		if !holds {
			broken = append(broken, promise)
		}
	}
	windowOver := c.When == Late || c.When == VeryLate
	cannotLand := c.Versions && c.Moved || !c.Versions && windowOver
	valuesSeen := c.Fate == Landed || c.Fate == Overwritten ||
		c.Fate == Alike && (cannotLand && (c.Heard == Nothing || c.Earlier) ||
			(c.Heard == OK || c.Heard == Unchanged) && (cannotLand || windowOver || c.When == AtOnce && !c.Earlier))
	refusal := c.Heard == Refused || c.Heard == Conflict || c.Heard == Busy || c.Heard == Forbidden || c.Heard == Gone || c.Heard == Denied
	conflict := c.Heard == Conflict || c.Heard == Busy
	busy := c.Heard == Busy && !c.Earlier && (c.Fate == Absent || c.Fate == Alike)
	neverSeen := c.Fate != Landed && c.Fate != Overwritten && c.Fate != Recreated && c.Fate != Partly && !(c.Fate == Altered && c.History == Told)
	absentForGood := (c.Fate == Absent || c.Fate == Alike) && c.History == Told

	check(r.State != Applied || valuesSeen, "APPLIED only where the values were seen")
	check(c.Fate != Recreated || r.State != Applied, "a patient made anew is never a success")
	check(!r.Follow || c.Read == Seen, "the cache follows only what the server showed")
	check(r.State == Unknown || r.Next != End || c.Read != Unread, "what was not looked at is not decided")
	check(r.Next != SendAgain || c.Heard == NotSent || c.Versions && !c.Moved && (c.Heard == Nothing || c.Heard == Busy),
		"the same PUT again only where it cannot have left, or where If-Match keeps it from landing twice")
	check(r.Next != MergeAgain || c.Heard == NotSent && !c.Earlier || absentForGood || conflict && !c.Earlier && c.Moved && c.Fate != Recreated || busy,
		"another PUT only where the first cannot land, or was refused because others wrote or the server was busy")
	check(r.Next == End || c.When == AtOnce, "the reconciler sends nothing")
	check(r.Next == End || c.Heard != OK && c.Heard != Unchanged && c.Heard != Shown && c.Heard != Created || r.Next == LookAgain,
		"what the server said OK to is not sent again")
	check(r.State != NotApplied || c.Heard == NotSent && !c.Earlier || c.Heard == Denied && !c.Earlier && neverSeen || absentForGood || windowOver && neverSeen || busy,
		"NOT_APPLIED only where nothing left, or it is absent for good, or the window is over, or the server was busy, or our credentials or our rate were refused")
	check(r.Why != WhyForbidden || r.State == Rejected && c.Heard == Forbidden && !c.Earlier, "forbidden only where the server said so")
	check(r.State != Rejected || r.Why != WhyRefused || refusal && !c.Earlier, "a refusal only where the server refused")
	check(r.State != Conflicting || c.When == AtOnce && (conflict || absentForGood), "a conflict only where others wrote")
	check((r.State == Unknown) == (r.Why == WhyNotKnown || r.Why == WhyNotShown) || c.Heard == Created, "only UNKNOWN says that it is not known")
	check(!r.Fence || c.Heard == Shown && c.Fate == Landed, "others are fenced only by the version that the PUT made")
	check(!r.ShowFollowed || c.Fate == Overwritten && r.State == Applied, "the caller is shown the version that followed only where it was overwritten")
	check(!r.Alarm || c.Fate == Recreated || c.Heard == Created || c.WasGone, "no false alarm")
	return broken
}

// Who knows less may say "unknown", but never another end than who knows more.
func TestLessEvidenceOnlyLeadsToUnknown(t *testing.T) {
	failed := 0
	walk(func(c Case) {
		more := Decide(c)
		for name, less := range lessThan(c) {
			r := Decide(less)
			if possible(less) && r.State != Unknown && r.Next == End && more.Next == End && more.State != Unknown && r.State != more.State {
				if failed++; failed < 20 {
					t.Errorf("%+v is %s (%s),\n\tbut with %s it is %s (%s)", c, more.State, more.Why, name, r.State, r.Why)
				}
			}
		}
	})
}

// lessThan are the cases in which one thing less is known.
func lessThan(c Case) map[string]Case {
	unread, noHistory, failing, earlier := c, c, c, c
	unread.Read, unread.Fate, unread.Moved, unread.History = Unread, NotSeen, false, Silent
	noHistory.History = Unanswered
	failing.History = Failing
	less := map[string]Case{"no read": unread}
	if c.History == Told && c.Fate != Overwritten && !(c.WasGone && c.When == VeryLate) { // then a history that fails counts as none
		less["no answer of the history"], less["a failing history"] = noHistory, failing
	}
	if c.When == Late || c.When == VeryLate {
		earlier.When = Early
		less["less time"] = earlier
	}
	return less
}

// testdata/rulings.txt is every case, the fields that make no difference left out:
// what a reader is shown, and a reviewer sees change.
func TestRulingsAreAsWritten(t *testing.T) {
	got := rulings()
	const page, begin, end = "../../docs/write-through.md", "<!-- rulings.txt -->\n\n```text\n", "```\n\n<!-- end -->\n"
	doc := read(t, page)
	before, rest, found := strings.Cut(doc, begin)
	shown, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the rulings", page)
	}
	if *update {
		write(t, "testdata/rulings.txt", got)
		write(t, page, before+begin+got+end+after)
	} else if got != read(t, "testdata/rulings.txt") || got != shown {
		t.Errorf("the rulings have changed; if that is meant: go test ./writethrough/judge -update, and look at the difference\n%s", got)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const legend = `What Decide rules in every case that can be; generated from it by its test.

heard      how the server answered the PUT (case.go has the statuses)
sent before  the same PUT was sent before, and the fate of that is open
read       how the read after it went
fate       what the server's data say: landed (its values are there, in whatever
           form), alike (all is as before, and that is a form of its values),
           overwritten (they were there, others are there now), absent (what was
           there before), partly, altered (neither),
           recreated (they are there, in a patient that was deleted before)
version    what is there is the version that the PUT was based on, or it has
           moved; "unversioned" where the server keeps none (moved: by its bytes)
history    told: it shows the version that followed; silent: there is none, or
           nothing to ask; failing, unanswered
outdated   the caller named a version, and fields to change have changed since
followed by  what followed is not the version that the PUT makes
wait       the server said when to come back
was gone   it said since the PUT that the patient is gone
-          no. A field that is left empty does not matter.

`

// node is what cases say that agree in all fields before this one: a ruling where
// it is the same for all of them, else a node for each value.
type node struct {
	ruling string
	values []string // those that make no difference are joined; "" if none does
	next   []*node
}

// grow returns nil where no case is possible.
func grow(c *Case, fields []field) *node {
	if len(fields) == 0 {
		if !possible(*c) {
			return nil
		}
		return &node{ruling: Decide(*c).String()}
	}
	grown := &node{}
	for v, name := range fields[0].values {
		fields[0].set(c, v)
		next := grow(c, fields[1:])
		if next == nil {
			continue
		}
		if same := slices.IndexFunc(grown.next, next.equal); same >= 0 {
			grown.values[same] += ", " + name
			continue
		}
		grown.values, grown.next = append(grown.values, name), append(grown.next, next)
	}
	switch len(grown.next) {
	case 0:
		return nil
	case 1:
		grown.values[0] = ""
	}
	return grown
}

func (a *node) equal(b *node) bool {
	return a.ruling == b.ruling && slices.Equal(a.values, b.values) && slices.EqualFunc(a.next, b.next, (*node).equal)
}

func (a *node) rows(cells []string, rows [][]string) [][]string {
	if len(a.next) == 0 {
		return append(rows, append(slices.Clone(cells), a.ruling))
	}
	for i, next := range a.next {
		rows = next.rows(append(slices.Clone(cells), a.values[i]), rows)
	}
	return rows
}

// rulings has a table for each answer, for the writer and for the reconciler.
func rulings() string {
	text := legend
	for _, who := range []struct {
		name  string
		first int // of the fields in its tables: the reconciler's have the time
		when  When
	}{{"The writer, at once", 3, AtOnce}, {"The reconciler, later; it sends nothing", 2, Early}} {
		var titles, tables []string
		for _, earlier := range []bool{false, true} {
			for _, heard := range []Heard{Nothing, NotSent, Shown, OK, Unchanged, Created, Conflict, Busy, Refused, Forbidden, Gone, Denied} {
				c := Case{When: who.when, Heard: heard, Earlier: earlier}
				of := fields[who.first:]
				if who.first == 2 {
					of = slices.DeleteFunc(slices.Clone(of), func(f field) bool { return f.name == "when" })
					of = append([]field{oneOf("when", func(c *Case) *When { return &c.When }, Early, Late, VeryLate)}, of...)
				}
				root := grow(&c, of)
				if root == nil {
					continue
				}
				table := aligned(of, root.rows(nil, nil))
				title := strings.ToLower(strings.ReplaceAll(string(heard), "_", " "))
				if heard == Nothing {
					title = "nothing"
				}
				if earlier {
					title += " (sent before)"
				}
				if same := slices.Index(tables, table); same >= 0 {
					titles[same] += ", " + title
					continue
				}
				titles, tables = append(titles, title), append(tables, table)
			}
		}
		text += "## " + who.name + "\n"
		for i := range titles {
			text += "\nheard: " + titles[i] + "\n" + tables[i]
		}
		text += "\n"
	}
	return strings.TrimRight(text, "\n") + "\n"
}

// aligned puts the cells below each other; a field that does not matter anywhere
// is left out.
func aligned(of []field, rows [][]string) string {
	var header []string
	for _, f := range of {
		header = append(header, f.name)
	}
	header = append(header, "ruling")
	width := make([]int, len(header))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	var text strings.Builder
	for _, row := range append([][]string{header}, rows...) {
		line := "  "
		for i, cell := range row {
			if width[i] > 0 {
				line += fmt.Sprintf("%-*s  ", max(width[i], len(header[i])), cell)
			}
		}
		fmt.Fprintln(&text, strings.TrimRight(line, " "))
	}
	return text.String()
}
