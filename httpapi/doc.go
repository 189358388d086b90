// Package httpapi is what is served over HTTP: GraphQL with its subscriptions (WebSocket,
// SSE, multipart), the playground, the example page, the schema, health, metrics and what
// the FHIR server tells. It owns the routes, which pages and proxies are believed, what a
// request may hold and cost, how often a caller may ask, how large and slow an answer may
// be, what an error shows, and the log of requests. It must not know where its parts come
// from: not the settings, not the demo, not how a patient is read or written.
package httpapi
