package httpapi

const (
	part    = "Content-Type: application/json\r\n\r\n"
	partEnd = "\r\n--graphql\r\n"
	lastEnd = "\r\n--graphql--\r\n"
)

// multipartMixed is the multipart protocol of Apollo for subscriptions. Each part is
// closed at once, for a client shows it only then; so the last one is empty, as a
// heartbeat is. What is wrong with the connection stands beside the payload: it has
// Apollo's RetryLink subscribe again, which it does not for what is wrong with the request.
var multipartMixed = framing{
	name:          "multipart",
	mediaType:     "multipart/mixed",
	spec:          "1.0",
	contentType:   `multipart/mixed;boundary="graphql";subscriptionSpec=1.0`,
	begin:         "--graphql\r\n" + part + "{}" + partEnd,
	heartbeat:     part + "{}" + partEnd,
	before:        part + `{"payload":`,
	after:         "}" + partEnd,
	complete:      part + "{}" + lastEnd,
	stoppedBefore: part + `{"payload":null,"errors":`,
	stoppedAfter:  "}" + lastEnd,
}
