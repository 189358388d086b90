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
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
)

// trustedLookEvery is how often the file is looked at, at most.
const trustedLookEvery = time.Second

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

	mu     sync.Mutex
	looked time.Time
	file   os.FileInfo                      // as it was when it was read, or could not be; nil: it was away
	told   *simplelru.LRU[string, struct{}] // documents that are not listed, by their hash
}

// OpenTrustedDocuments reads a file of trusted documents. With enforce no other
// operation is accepted; without, the log says which would not be.
func OpenTrustedDocuments(path string, enforce bool, log *slog.Logger, now func() time.Time) (*TrustedDocuments, error) {
	t := &TrustedDocuments{path: path, enforce: enforce, log: log, now: now, looked: now()}
	t.told, _ = simplelru.NewLRU[string, struct{}](maxToldDocuments, nil) // fails for no size alone
	list, file, err := readDocuments(path)
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
func (t *TrustedDocuments) current(ctx context.Context) *documentList {
	if t == nil {
		return nil
	}
	if t.mu.TryLock() { // else another request looks
		defer t.mu.Unlock()
		if now := t.now(); now.Sub(t.looked) >= trustedLookEvery {
			t.looked = now
			t.look(ctx)
		}
	}
	return t.documents.Load()
}

// look reads the file again if it has changed. It says once of each change that it
// cannot be used.
func (t *TrustedDocuments) look(ctx context.Context) {
	file, _ := os.Stat(t.path) // nil: the file is away
	if unchanged(t.file, file) {
		return
	}
	t.file = file
	list, file, err := readDocuments(t.path)
	if err != nil {
		t.log.ErrorContext(ctx, "TRUSTED_DOCUMENTS cannot be read again: the operations of before stay trusted", "error", err)
		return
	}
	t.file = file
	t.documents.Store(list)
	t.log.InfoContext(ctx, "TRUSTED_DOCUMENTS was read again", "operations", len(list.texts))
}

func unchanged(before, now os.FileInfo) bool {
	if before == nil || now == nil {
		return before == nil && now == nil
	}
	return os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()) && before.Size() == now.Size()
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

// apolloManifest is Apollo's persisted-query manifest.
type apolloManifest struct {
	Format     string `json:"format"`
	Operations []struct {
		ID   string `json:"id"`
		Body string `json:"body"`
	} `json:"operations"`
}

const apolloFormat = "apollo-persisted-query-manifest"

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
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, info, nil
}

// parseDocuments reads Apollo's manifest, or Relay's: an object of ids and texts.
func parseDocuments(content []byte) (*documentList, error) {
	list := &documentList{byID: map[string]string{}, texts: map[string]bool{}}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(content, &members); err != nil {
		return nil, errors.New("it is no JSON object: neither Apollo's persisted-query manifest nor Relay's file of ids and texts")
	}
	if members["operations"] != nil {
		var manifest apolloManifest
		if err := json.Unmarshal(content, &manifest); err != nil || manifest.Format != apolloFormat {
			return nil, fmt.Errorf("it has operations, but is not of the format %q, each with an id and a body", apolloFormat)
		}
		for i, o := range manifest.Operations {
			if err := list.add(o.ID, o.Body); err != nil {
				return nil, fmt.Errorf("operation %d, id %.100q: %w", i+1, o.ID, err)
			}
		}
	} else {
		for id, text := range members {
			var body string
			if err := json.Unmarshal(text, &body); err != nil {
				return nil, fmt.Errorf("id %.100q: its value is no text; neither Apollo's persisted-query manifest nor Relay's file of ids and texts", id)
			}
			if err := list.add(id, body); err != nil {
				return nil, fmt.Errorf("id %.100q: %w", id, err)
			}
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
