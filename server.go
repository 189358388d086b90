// Command patientgraph is a GraphQL server in front of a hospital's FHIR
// server: reads come from a cache, contact changes go to FHIR first.
package main

//go:generate go tool gqlgen generate
//go:generate go run ./internal/apidoc

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"patientgraph/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := app.Run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		app.WriteFatal(os.Args[1:], os.Getenv, os.Stderr, err)
		os.Exit(1)
	}
}
