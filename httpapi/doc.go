// Package httpapi is what is served over HTTP: GraphQL, the playground, health and
// metrics. It owns the routes, what a request may hold and cost, how large and slow
// an answer may be, and what an error shows. It must not know where its parts come
// from: not the settings, not the demo, not how a patient is read or written.
package httpapi
