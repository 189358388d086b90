// Package app is the program behind main: its settings, its commands, the demo, and
// the wiring of everything else. It owns the process: what is opened at start, and
// closed in which order at the end. It must not know how a request is answered or
// limited (httpapi), nor how a write is made (writethrough).
package app
