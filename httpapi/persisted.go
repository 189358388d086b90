package httpapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// persistedQuery is the extension by which a request names its document: Apollo's
// {"version": 1, "sha256Hash": "…"}.
const persistedQuery = "persistedQuery"

// Messages and codes are Apollo's: its clients, and urql, send the query after the one
// and no more hashes after the other.
const (
	codePersistedQueryNotFound     = "PERSISTED_QUERY_NOT_FOUND"
	codePersistedQueryNotSupported = "PERSISTED_QUERY_NOT_SUPPORTED"
)

// documentIDs are other names for the id of a document: in the draft of GraphQL over HTTP,
// and Relay's.
var documentIDs = []string{"documentId", "doc_id"}

// nameDocument writes the id of a document as the extension, which every transport
// carries, if the request has neither that nor a query; given returns a member of it.
func nameDocument(parameters *graphql.RawParams, given func(name string) string) {
	id := cmp.Or(given(documentIDs[0]), given(documentIDs[1]))
	if id == "" || parameters.Query != "" || parameters.Extensions[persistedQuery] != nil {
		return
	}
	if parameters.Extensions == nil {
		parameters.Extensions = map[string]any{}
	}
	parameters.Extensions[persistedQuery] = map[string]any{"version": json.Number("1"), "sha256Hash": plainID(id)}
}

// plainID is an id without the prefix that the draft gives to a SHA-256.
func plainID(id string) string { return strings.TrimPrefix(id, "sha256:") }

// hashOf returns the hash, or the id, that the extension holds; "": there is none.
func hashOf(extensions map[string]any) (hash string, bad *gqlerror.Error) {
	given := extensions[persistedQuery]
	if given == nil {
		return "", nil
	}
	extension, _ := given.(map[string]any)
	hash, _ = extension["sha256Hash"].(string)
	if fmt.Sprint(extension["version"]) != "1" || hash == "" {
		return "", badInput("extensions." + persistedQuery + ` must be {"version": 1, "sha256Hash": "…"}`)
	}
	return hash, nil
}

// persistedDocuments puts the text of a document in the place of its hash, whatever
// transport the request came by, and accepts none but the trusted ones, if there is a
// list of them. gqlgen's AutomaticPersistedQuery (0.17.98) keeps what does not parse, and
// any number of bytes.
type persistedDocuments struct {
	seen          *documentCache
	trusted       *TrustedDocuments // nil: all are
	introspection bool
}

func (persistedDocuments) ExtensionName() string                   { return "PersistedDocuments" }
func (persistedDocuments) Validate(graphql.ExecutableSchema) error { return nil }

func (p persistedDocuments) MutateOperationParameters(ctx context.Context, request *graphql.RawParams) *gqlerror.Error {
	hash, bad := hashOf(request.Extensions)
	if bad != nil {
		return bad
	}
	trusted := p.trusted.current()
	switch {
	case hash == "":
	case request.Query == "":
		var found bool
		if request.Query, found = p.named(trusted, hash); !found && p.trusted.refuses() {
			return coded(codePersistedQueryNotSupported, "PersistedQueryNotSupported")
		} else if !found {
			return coded(codePersistedQueryNotFound, "PersistedQueryNotFound")
		}
	default:
		if listed, _ := trusted.text(hash); request.Query != listed && sha256Of(request.Query) != hash {
			return badInput("extensions." + persistedQuery + ".sha256Hash is not the SHA-256 of query, in lower-case hexadecimal")
		}
	}
	if trusted == nil || trusted.has(request.Query) || p.introspection && onlyIntrospects(request.Query) {
		return nil
	}
	return p.trusted.notListed(ctx, request.Query)
}

// named returns the document of a hash: a trusted one, or one that was sent with it.
func (p persistedDocuments) named(trusted *documentList, hash string) (text string, found bool) {
	text, found = trusted.text(hash)
	if found || p.trusted.refuses() {
		return text, found
	}
	return p.seen.get(hash)
}

// passing returns the document that a request has or names. ok is false unless
// MutateOperationParameters would take it without a word.
func (p persistedDocuments) passing(request *graphql.RawParams) (query string, ok bool) {
	hash, bad := hashOf(request.Extensions)
	trusted := p.trusted.current()
	query = request.Query
	switch {
	case bad != nil, hash != "" && query != "":
		return "", false
	case hash != "":
		if query, ok = p.named(trusted, hash); !ok {
			return "", false
		}
	}
	return query, trusted == nil || trusted.has(query)
}

// InterceptOperation keeps the document, now that it is known to be valid and within the
// limits.
func (p persistedDocuments) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	operation := graphql.GetOperationContext(ctx)
	if hash, _ := hashOf(operation.Extensions); hash != "" {
		p.seen.add(hash, operation.RawQuery)
	}
	return next(ctx)
}

func sha256Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

const (
	// maxSeenDocuments bounds what is kept of the documents that clients have sent with
	// their hash, in bytes: some thousand of the usual length.
	maxSeenDocuments = 8 << 20
	// documentOverhead is what an entry takes beside its text.
	documentOverhead = 300
)

// documentCache keeps documents by the SHA-256 of their text: those that were used last,
// up to max bytes.
type documentCache struct {
	max int

	mu    sync.Mutex
	lru   *simplelru.LRU[string, string]
	bytes int
}

func newDocumentCache(max int) *documentCache {
	c := &documentCache{max: max}
	c.lru, _ = simplelru.NewLRU(math.MaxInt, func(_, text string) { c.bytes -= len(text) + documentOverhead }) // fails for no size alone
	return c
}

func (c *documentCache) get(hash string) (text string, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Get(hash)
}

// add keeps a document, unless hash is an id that the list of trusted ones gave it.
func (c *documentCache) add(hash, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(hash) || sha256Of(text) != hash {
		return
	}
	c.lru.Add(hash, text)
	c.bytes += len(text) + documentOverhead
	for c.bytes > c.max {
		c.lru.RemoveOldest()
	}
}
