package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/tidwall/gjson"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"

	"patientgraph/resolvers"
)

// trustedLookEvery is how often the file is looked at, at most.
const trustedLookEvery = time.Second

// trustedLookWait is how long the request that has it looked at waits for the new list,
// at most: a large one takes seconds.
const trustedLookWait = 200 * time.Millisecond

// maxToldDocuments bounds of how many documents it is remembered that the log has them.
const maxToldDocuments = 1_000

// TrustedDocuments are the operations that are accepted: those of a file, which is read
// again when it changes. A file that cannot be used changes nothing.
type TrustedDocuments struct {
	path    string
	enforce bool // else the log says what would be refused
	log     *slog.Logger
	now     func() time.Time

	documents atomic.Pointer[documentList]

	// Of who looks at the file.
	read    func(path string) (*documentList, os.FileInfo, error)
	file    os.FileInfo // as it was when it was read, whatever it held
	failure string      // that the log has

	mu      sync.Mutex
	looking bool
	looked  time.Time
	told    *simplelru.LRU[string, struct{}] // documents that are not listed, by their hash
}

// OpenTrustedDocuments reads a file of trusted documents. With enforce no other
// operation is accepted; without, the log says which would not be.
func OpenTrustedDocuments(path string, enforce bool, log *slog.Logger, now func() time.Time) (*TrustedDocuments, error) {
	t := &TrustedDocuments{path: path, enforce: enforce, log: log, now: now, looked: now(), read: readDocuments}
	t.told, _ = simplelru.NewLRU[string, struct{}](maxToldDocuments, nil) // fails for no size alone
	list, file, err := t.read(path)
	if err != nil {
		return nil, err
	}
	t.file = file
	t.documents.Store(list)
	return t, nil
}

// Len is how many documents are listed.
func (t *TrustedDocuments) Len() int { return len(t.documents.Load().texts) }

// current is the list as the file has it now; nil if there is none.
func (t *TrustedDocuments) current() *documentList {
	if t == nil {
		return nil
	}
	if t.isDue() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			t.look()
		}()
		select {
		case <-done:
		case <-time.After(trustedLookWait):
		}
	}
	return t.documents.Load()
}

// isDue reports whether the caller is to look at the file.
func (t *TrustedDocuments) isDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.looking || now.Sub(t.looked) < trustedLookEvery {
		return false
	}
	t.looking, t.looked = true, now
	return true
}

// look reads the file again if it has changed, or could not be read. It says once of each
// change that it cannot be used.
func (t *TrustedDocuments) look() {
	defer func() {
		cause := recover()
		if cause != nil { // one list must not end the process
			t.log.Error("TRUSTED_DOCUMENTS cannot be read again", "error", resolvers.Panic(cause))
		}
		t.mu.Lock()
		t.looking = false
		t.mu.Unlock()
	}()
	if file, err := os.Stat(t.path); err == nil && unchanged(t.file, file) {
		t.failure = ""
		return
	}
	list, file, err := t.read(t.path)
	if file != nil {
		t.file = file
	}
	if err != nil {
		if err.Error() != t.failure || file != nil {
			t.log.Error("TRUSTED_DOCUMENTS cannot be read again: the operations of before stay trusted", "error", err)
		}
		t.failure = err.Error()
		return
	}
	t.failure = ""
	t.documents.Store(list)
	t.log.Info("TRUSTED_DOCUMENTS was read again", "operations", len(list.texts))
}

func unchanged(before, now os.FileInfo) bool {
	return os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()) && before.Size() == now.Size() && inodeChange(before) == inodeChange(now)
}

// refuses reports whether what is not listed is refused.
func (t *TrustedDocuments) refuses() bool { return t != nil && t.enforce }

// notListed refuses a document that is not listed, or lets it pass; the log has it once.
func (t *TrustedDocuments) notListed(ctx context.Context, text string) *gqlerror.Error {
	hash := sha256Of(text)
	t.mu.Lock()
	told := t.told.Contains(hash)
	t.told.Add(hash, struct{}{})
	t.mu.Unlock()
	if !told {
		t.log.WarnContext(ctx, "an operation is not in TRUSTED_DOCUMENTS", "sha256", hash, "refused", t.enforce)
	}
	if !t.enforce {
		return nil
	}
	return badInput("this server answers listed operations only, and this one is not among them: have it added to the list (TRUSTED_DOCUMENTS), to the letter as the client sends it")
}

// documentList is what a file of trusted documents holds. A nil one trusts all.
type documentList struct {
	byID  map[string]string
	texts map[string]bool
}

func (l *documentList) text(id string) (text string, listed bool) {
	if l == nil {
		return "", false
	}
	text, listed = l.byID[id]
	return text, listed
}

func (l *documentList) has(text string) bool { return l.texts[text] }

const apolloFormat = "apollo-persisted-query-manifest"

// readDocuments returns what the file was like if it was read, even if it cannot be used.
func readDocuments(path string) (*documentList, os.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return nil, nil, err
	}
	list, err := parseDocuments(bytes.TrimPrefix(content, []byte("\ufeff")))
	if err != nil {
		return nil, info, fmt.Errorf("%s: %w", path, err)
	}
	return list, info, nil
}

// parseDocuments reads Apollo's manifest, or Relay's: an object of ids and texts.
func parseDocuments(content []byte) (*documentList, error) {
	list := &documentList{byID: map[string]string{}, texts: map[string]bool{}}
	parsed := gjson.ParseBytes(content)
	if !json.Valid(content) || !parsed.IsObject() {
		return nil, errors.New("it is no JSON object: neither Apollo's persisted-query manifest nor Relay's file of ids and texts")
	}
	if operations := parsed.Get("operations"); operations.Exists() {
		if name := twice(parsed); name != "" {
			return nil, fmt.Errorf("it has %.100q twice", name)
		}
		if parsed.Get("format").Str != apolloFormat || !operations.IsArray() {
			return nil, fmt.Errorf("it has operations, but is not of the format %q, each with an id and a body", apolloFormat)
		}
		for i, o := range operations.Array() {
			id := o.Get("id").Str
			if name := twice(o); name != "" {
				return nil, fmt.Errorf("operation %d, id %.100q, has %.100q twice", i+1, id, name)
			}
			if err := list.add(id, o.Get("body").Str); err != nil {
				return nil, fmt.Errorf("operation %d, id %.100q: %w", i+1, id, err)
			}
		}
	} else {
		var bad error
		parsed.ForEach(func(id, text gjson.Result) bool { // encoding/json takes the last of those with one id
			if text.Type != gjson.String {
				bad = fmt.Errorf("id %.100q: its value is no text; neither Apollo's persisted-query manifest nor Relay's file of ids and texts", id.Str)
			} else if err := list.add(id.Str, text.Str); err != nil {
				bad = fmt.Errorf("id %.100q: %w", id.Str, err)
			}
			return bad == nil
		})
		if bad != nil {
			return nil, bad
		}
	}
	if len(list.texts) == 0 {
		return nil, errors.New("it lists no operation")
	}
	return list, nil
}

func (l *documentList) add(id, text string) error {
	id = plainID(id)
	before, known := l.byID[id]
	switch {
	case id == "":
		return errors.New("it has no id")
	case known && before != text:
		return errors.New("the id is there twice, with different texts")
	}
	if refusal := checkText(text); refusal != nil {
		return errors.New(refusal.Message)
	}
	document, err := parser.ParseQuery(&ast.Source{Input: text})
	if err != nil || len(document.Operations) == 0 {
		return errors.New("its text is no GraphQL document with an operation")
	}
	if refusal := survey(document); refusal != nil {
		return errors.New(refusal.Message)
	}
	l.byID[id] = text
	if hash := sha256Of(text); l.byID[hash] == "" { // by which it can be named whatever its id is
		l.byID[hash] = text
	}
	l.texts[text] = true
	return nil
}

// onlyIntrospects reports whether a document asks for the schema and for nothing else, as
// GraphiQL does to know it.
func onlyIntrospects(text string) bool {
	if checkText(text) != nil {
		return false
	}
	document, err := parser.ParseQuery(&ast.Source{Input: text})
	if err != nil || len(document.Operations) == 0 {
		return false
	}
	for _, operation := range document.Operations {
		for _, selection := range operation.SelectionSet {
			field, isField := selection.(*ast.Field)
			if operation.Operation != ast.Query || !isField || !strings.HasPrefix(field.Name, "__") {
				return false
			}
		}
	}
	return true
}
