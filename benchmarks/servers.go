package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// server is one of those that are compared.
type server struct {
	name      string
	questions questions
	rows      bool     // it answers from rows, and is checked against the others
	headers   []string // of its callers
	address   string
	command   *exec.Cmd
	ended     chan struct{}
}

// The names of the servers; those with a database are "NAME, DATABASE".
const (
	helloWorld   = "hello-world"
	handWritten  = "hand-written"
	patientGraph = "PatientGraph"
	otherBuild   = "the other build"
	postGraphile = "PostGraphile"
)

// newServer is one that serves on a port of its own; command is made for its address.
func newServer(name string, q questions, command func(address string) *exec.Cmd) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	address := listener.Addr().String()
	return &server{name: name, questions: q, rows: true, headers: []string{""}, address: address, command: command(address), ended: make(chan struct{})}, nil
}

// start returns when the server answers. What it logs is not kept: to write it down would
// cost the machine that is measured.
func (s *server) start(ctx context.Context) error {
	if err := s.command.Start(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	go func() {
		_ = s.command.Wait() // it is ended by a signal
		close(s.ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := s.ask(ctx, onePage, "null")
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s ended: %v; to see why: %s", s.name, s.command.ProcessState, s.command)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.name, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *server) stop() {
	if s.command.Process == nil {
		return
	}
	_ = s.command.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		_ = s.command.Process.Kill()
		<-s.ended
	}
}

// build makes the program that users have: without what GOFLAGS may ask of tests.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "patientgraph")
	command := exec.CommandContext(ctx, "go", "build", "-o", binary, "patientgraph")
	command.Env = append(os.Environ(), "GOFLAGS=")
	if said, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, said)
	}
	return binary, nil
}

// PatientGraph is asked by several callers, each with a token: of one alone it takes no 512
// queries at once.
const (
	callers = 8
	secret  = "of-the-benchmarks-and-nothing-else"
)

// newPatientGraph runs it as an operator does, its log included. There is no FHIR server
// behind it, so nothing is followed, and a caller may ask as often as he likes. more are
// settings beside these.
func newPatientGraph(name, binary string, d *database, more ...string) (*server, error) {
	settings := append(os.Environ(), "DATABASE_URL="+d.url, "JWT_SECRET="+secret, "FHIR_BASE_URL=http://127.0.0.1:1/fhir",
		"PATIENT_ID_SYSTEM="+numberSystem, "SYNC_INTERVAL=0", "VERIFY_INTERVAL=0", "RATE_LIMIT=0", "LOG_FORMAT=json")
	settings = append(settings, more...)
	s, err := newServer(name+", "+d.name, ofPatientGraph, func(address string) *exec.Cmd {
		command := exec.Command(binary)
		command.Env = append(settings, "LISTEN_ADDR="+address)
		return command
	})
	if err != nil {
		return nil, err
	}
	s.headers, err = headersOf(callers)
	return s, err
}

// headersOf are the headers of callers, each with a token.
func headersOf(callers int) (headers []string, err error) {
	for n := range callers {
		claims := jwt.MapClaims{"role": "admin", "sub": fmt.Sprint("caller-", n), "exp": time.Now().Add(24 * time.Hour).Unix()}
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
		if err != nil {
			return nil, err
		}
		headers = append(headers, "Authorization: Bearer "+token+"\r\n")
	}
	return headers, nil
}

// ourselves is this program as another one.
func ourselves(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return exec.Command(self, args...)
}

func newByHand(d *database) (*server, error) {
	return newServer(handWritten+", "+d.name, ofByHand, func(address string) *exec.Cmd {
		return ourselves("byhand", address, d.driver, d.plainSource)
	})
}

func newHello() (*server, error) {
	s, err := newServer(helloWorld, ofHello, func(address string) *exec.Cmd { return ourselves("hello", address) })
	if err == nil {
		s.rows = false
	}
	return s, err
}

//go:embed postgraphile
var postGraphileFiles embed.FS

// newPostGraphile installs it, if it is not yet, into a directory.
func newPostGraphile(ctx context.Context, dir string, d *database) (*server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	installed := filepath.Join(dir, "node_modules")
	lock, err := postGraphileFiles.ReadFile("postgraphile/package-lock.json")
	if err != nil {
		return nil, err
	}
	if before, err := os.ReadFile(filepath.Join(dir, "package-lock.json")); err != nil || string(before) != string(lock) {
		if err := os.RemoveAll(installed); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"package.json", "package-lock.json", "server.js"} {
		text, err := postGraphileFiles.ReadFile("postgraphile/" + name)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(filepath.Join(installed, ".package-lock.json")); errors.Is(err, os.ErrNotExist) { // npm writes it last
		npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		npm.Dir = dir
		if said, err := npm.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("npm ci: %w\n%s", err, said)
		}
	}
	node := filepath.Join(installed, "node-linux-"+strings.Replace(runtime.GOARCH, "amd64", "x64", 1), "bin", "node")
	if _, err := os.Stat(node); err != nil {
		node = "node" // the system's, on what is not Linux
	}
	return newServer(postGraphile, ofPostGraphile, func(address string) *exec.Cmd {
		command := exec.Command(node, filepath.Join(dir, "server.js"))
		_, port, _ := net.SplitHostPort(address)
		command.Env = append(os.Environ(), "NODE_ENV=production", "GRAPHILE_ENV=production", "PORT="+port, "DATABASE_URL="+d.url)
		return command
	})
}
