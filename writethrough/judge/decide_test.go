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
	oneOf("heard", func(c *Case) *Heard { return &c.Heard }, NotSent, Shown, OK, Unchanged, Created, Conflict, Refused, Gone, Denied, Nothing),
	oneOf("when", func(c *Case) *When { return &c.When }, AtOnce, Early, Late, VeryLate),
	flagged("earlier", "-", "open", func(c *Case) *bool { return &c.Earlier }),
	oneOf("read", func(c *Case) *Read { return &c.Read }, Unread, Seen, SeenGone, SeenDenied),
	oneOf("fate", func(c *Case) *Fate { return &c.Fate }, NotSeen, Landed, Alike, Overwritten, Absent, Partly, Altered, Recreated),
	{"version", []string{"same", "moved", "none", "none, but moved"}, func(c *Case, n int) { c.Versions, c.Moved = n < 2, n%2 == 1 }},
	oneOf("history", func(c *Case) *History { return &c.History }, Silent, Told, Failing, Unanswered),
	flagged("expected", "-", "named", func(c *Case) *bool { return &c.Expected }),
	flagged("by", "-", "others", func(c *Case) *bool { return &c.ByOthers }),
	flagged("wait", "-", "asked", func(c *Case) *bool { return &c.Wait }),
	flagged("was gone", "-", "yes", func(c *Case) *bool { return &c.WasGone }),
}

// possible reports whether a case does not contradict itself.
func possible(c Case) bool {
	moved := c.Versions && c.Moved
	switch {
	case (c.Read == Seen) != (c.Fate != NotSeen), c.Read != Seen && (c.Moved || c.History != Silent):
		return false
	case c.Heard == Shown && (c.Read != Seen || c.History != Silent || c.Fate == Overwritten || c.Fate == Recreated || c.Fate == Alike || !c.Moved):
		return false // what the answer shows is read without a history
	case c.Heard == NotSent && c.Read != Unread:
		return false // nobody looks
	case c.History != Silent && !moved:
		return false // the history is only asked when the version has moved
	case c.Fate == Overwritten && c.History != Told, c.Fate == Recreated && (c.History != Silent || !moved), c.Fate == Alike && moved:
		return false
	case c.Read == SeenDenied && (c.When != AtOnce || c.Heard != Denied):
		return false
	case c.When != AtOnce && (c.Earlier || c.Expected || c.ByOthers || c.Wait || c.Moved && !c.Versions || c.Heard == NotSent || c.Heard == Shown):
		return false // what the journal does not keep
	case c.When == AtOnce && c.WasGone:
		return false
	}
	return true
}

// walk calls visit with every possible case, and with which value each field has.
func walk(visit func(c Case, indexes []int)) {
	var c Case
	indexes := make([]int, len(fields))
	var next func(n int)
	next = func(n int) {
		if n == len(fields) {
			if possible(c) {
				visit(c, indexes)
			}
			return
		}
		for v := range fields[n].values {
			indexes[n] = v
			fields[n].set(&c, v)
			next(n + 1)
		}
	}
	next(0)
}

// Every case that can be, against what docs/write-through.md promises.
func TestEveryRulingKeepsThePromises(t *testing.T) {
	cases, failed := 0, 0
	walk(func(c Case, _ []int) {
		cases++
		r := Decide(c)
		for _, broken := range brokenBy(c, r) {
			if failed++; failed < 20 {
				t.Errorf("%s: %+v\n\tis ruled %+v", broken, c, r)
			}
		}
	})
	t.Logf("%d cases", cases)
	if cases < 5000 {
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
	valuesSeen := c.Fate == Landed || c.Fate == Overwritten || c.Fate == Alike && (c.Heard == OK || c.Heard == Unchanged)
	windowOver := c.When == Late || c.When == VeryLate
	refusal := c.Heard == Refused || c.Heard == Conflict || c.Heard == Gone || c.Heard == Denied
	neverSeen := c.Fate != Landed && c.Fate != Overwritten && c.Fate != Recreated && c.Fate != Partly
	absentForGood := c.Fate == Absent && c.History == Told

	check(r.State != Applied || valuesSeen, "APPLIED only where the values were seen")
	check(c.Fate != Recreated || r.State != Applied, "a patient made anew is never a success")
	check(!r.Follow || c.Read == Seen, "the cache follows only what the server showed")
	check(r.State == Unknown || r.Next != End || c.Read != Unread, "what was not looked at is not decided")
	check(r.Next != SendAgain || c.Heard == NotSent || c.Versions && !c.Moved && c.Heard == Nothing,
		"the same PUT again only where it cannot have left, or where If-Match keeps it from landing twice")
	check(r.Next != MergeAgain || c.Heard == NotSent && !c.Earlier || absentForGood || c.Heard == Conflict && !c.Earlier && c.Moved && c.Fate != Recreated,
		"another PUT only where the first cannot land, or was refused because others wrote")
	check(r.Next == End || c.When == AtOnce, "the reconciler sends nothing")
	check(r.Next == End || c.Heard != OK && c.Heard != Unchanged && c.Heard != Shown && c.Heard != Created || r.Next == LookAgain,
		"what the server said OK to is not sent again")
	check(r.State != NotApplied || c.Heard == NotSent && !c.Earlier || c.Heard == Denied && !c.Earlier && neverSeen || absentForGood || windowOver && neverSeen,
		"NOT_APPLIED only where nothing left, or it is absent for good, or the window is over, or our credentials or our rate were refused")
	check(r.State != Rejected || r.Why != WhyRefused || refusal && !c.Earlier, "a refusal only where the server refused")
	check(r.State != Conflicting || c.When == AtOnce && (c.Heard == Conflict || absentForGood), "a conflict only where others wrote")
	check((r.State == Unknown) == (r.Why == WhyNotKnown || r.Why == WhyNotShown) || c.Heard == Created, "only UNKNOWN says that it is not known")
	check(!r.Fence || c.Heard == Shown && c.Fate == Landed, "others are fenced only by the version that the PUT made")
	check(!r.TellNext || c.Fate == Overwritten && r.State == Applied, "the caller is shown the version that followed only where it was overwritten")
	check(!r.Alarm || c.Fate == Recreated || c.Heard == Created || c.WasGone, "no false alarm")
	return broken
}

// Who knows less may say "unknown", but never another end than who knows more.
func TestLessEvidenceOnlyLeadsToUnknown(t *testing.T) {
	failed := 0
	walk(func(c Case, _ []int) {
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
	if c.History == Told && c.Fate != Overwritten {
		less["no answer of the history"], less["a failing history"] = noHistory, failing
	}
	if c.When == Late || c.When == VeryLate {
		earlier.When = Early
		less["less time"] = earlier
	}
	return less
}

// rulings.txt is every case, the fields that make no difference left out.

// testdata/rulings.txt is what a reader is shown, and a reviewer sees change.
func TestRulingsAreAsWritten(t *testing.T) {
	got := rulings()
	const page, begin, end = "../../docs/write-through.md", "<!-- rulings.txt -->\n```text\n", "```\n<!-- end -->\n"
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

// box is a line of rulings.txt: the cases whose fields each have one of these
// values are all ruled alike.
type box struct {
	ruling string
	values []map[int]bool // by field
}

func (b *box) holds(indexes []int) bool {
	for n, v := range indexes {
		if !b.values[n][v] {
			return false
		}
	}
	return true
}

type ruled struct {
	indexes []int // the value of each field
	ruling  string
}

// grow makes the box of one case as large as its ruling holds. Cases that cannot
// be do not count.
func grow(first ruled, all []ruled) *box {
	b := &box{ruling: first.ruling}
	for _, v := range first.indexes {
		b.values = append(b.values, map[int]bool{v: true})
	}
	for n := len(fields) - 1; n >= 0; n-- {
		for v := range fields[n].values {
			if b.values[n][v] {
				continue
			}
			b.values[n][v] = true
			if slices.ContainsFunc(all, func(c ruled) bool { return c.ruling != b.ruling && b.holds(c.indexes) }) {
				delete(b.values[n], v)
			}
		}
	}
	return b
}

// cell says which values the cases of a box have of a field; "" where the field
// does not matter.
func (b *box) cell(n int, all []ruled) string {
	occurs, anywhere := map[int]bool{}, map[int]bool{}
	for _, c := range all {
		anywhere[c.indexes[n]] = true
		if b.holds(c.indexes) {
			occurs[c.indexes[n]] = true
		}
	}
	if len(b.values[n]) == len(fields[n].values) || len(occurs) == len(anywhere) {
		return ""
	}
	var names, others []string
	for v, name := range fields[n].values {
		switch {
		case fields[n].name == "fate" && v == 0: // nothing was seen: the read says so
		case occurs[v]:
			names = append(names, name)
		case anywhere[v]:
			others = append(others, name)
		}
	}
	if len(names) > 4 {
		return "all but " + strings.Join(others, ", ")
	}
	return strings.Join(names, ", ")
}

const legend = `What Decide rules in every case that can be; generated from it by its test.
A line holds for all cases that have, of each field, one of the values that it
names; a field that it leaves empty does not matter. Where two lines hold for a
case they say the same. case.go says what the words mean.

`

// rulings are as few lines as are needed to say how every case is ruled.
func rulings() string {
	var writer, reconciler []ruled
	walk(func(c Case, indexes []int) {
		r := ruled{slices.Clone(indexes), Decide(c).String()}
		if c.When == AtOnce {
			writer = append(writer, r)
		} else {
			reconciler = append(reconciler, r)
		}
	})
	return legend + "The writer, at once:\n\n" + table(writer) + "\nThe reconciler, later; it sends nothing:\n\n" + table(reconciler)
}

func table(all []ruled) string {
	var boxes []*box
	for _, c := range all {
		if !slices.ContainsFunc(boxes, func(b *box) bool { return b.holds(c.indexes) }) {
			boxes = append(boxes, grow(c, all))
		}
	}
	var header []string
	for _, f := range fields {
		header = append(header, f.name)
	}
	lines := [][]string{append(header, "ruling")}
	for _, b := range needed(boxes, all) {
		var cells []string
		for n := range fields {
			cells = append(cells, b.cell(n, all))
		}
		lines = append(lines, append(cells, b.ruling))
	}
	return aligned(lines)
}

// needed leaves out the boxes whose every case is in another, small ones first.
func needed(boxes []*box, all []ruled) []*box {
	size, held := map[*box]int{}, make([]int, len(all)) // by how many boxes each case is held
	for n, c := range all {
		for _, b := range boxes {
			if b.holds(c.indexes) {
				size[b]++
				held[n]++
			}
		}
	}
	small := slices.SortedFunc(slices.Values(boxes), func(a, b *box) int { return size[a] - size[b] })
	for _, b := range small {
		var cases []int
		for n, c := range all {
			if b.holds(c.indexes) {
				cases = append(cases, n)
			}
		}
		if slices.ContainsFunc(cases, func(n int) bool { return held[n] == 1 }) {
			continue
		}
		for _, n := range cases {
			held[n]--
		}
		boxes = slices.DeleteFunc(boxes, func(other *box) bool { return other == b })
	}
	return boxes
}

// aligned puts the cells below each other; a column in which nothing matters is
// left out.
func aligned(lines [][]string) string {
	width := make([]int, len(lines[0]))
	for _, l := range lines[1:] {
		for i, cell := range l {
			width[i] = max(width[i], len(cell))
		}
	}
	var text strings.Builder
	for _, l := range lines {
		var row string
		for i, cell := range l {
			if width[i] > 0 {
				row += fmt.Sprintf("%-*s  ", max(width[i], len(lines[0][i])), cell)
			}
		}
		fmt.Fprintln(&text, strings.TrimRight(row, " "))
	}
	return text.String()
}
