package httpapi

import "net/http"

// sse are server-sent events as graphql-sse has them (its PROTOCOL.md, distinct
// connections mode). What is wrong with a document is told in an event as well. Without
// complete at its end a client subscribes again. An event without data would not reach
// the listeners of a browser's EventSource.
var sse = framing{
	name:        "sse",
	mediaType:   "text/event-stream",
	contentType: "text/event-stream",
	begin:       ":\n\n",
	heartbeat:   ":\n\n",
	before:      "event: next\ndata: ",
	after:       "\n\n",
	complete:    "event: complete\ndata: \n\n",
}

// useGETOrPOST refuses other methods. With PUT a client of graphql-sse in its single
// connection mode begins: its developer has one setting to change.
func useGETOrPOST(method string) string {
	if method == http.MethodPut {
		return "use GET or POST; of graphql-sse the distinct connections mode is offered, not the single connection mode"
	}
	return "use GET or POST"
}
