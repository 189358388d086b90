package fhir

import "strings"

// branch is a place in a tree of tokens: each way from the root is a value.
type branch struct {
	next     map[string]*branch
	match    match
	literals []literal
}

// match says what it means that a value stands in a text. The order counts:
// where two values are the same words, the later match holds (insertWords).
type match int

const (
	noMatch   match = iota
	capitals        // hidden where written in capitals: MA, US
	alone           // hidden where it is a word by itself: 김
	ambiguous       // a name that is a word of such texts, too: to hide it would show where it stood
	hidesEach       // each word by itself: a name that is composed here
	hides
)

// literal is a value of common words only: it counts with its punctuation.
type literal struct{ before, inner, after string }

// insert adds a way through the tree; nil: the tree is full.
func (s *Secrets) insert(tokens []token, m match) *branch {
	words := make([]string, 0, maxSecretDepth)
	for _, t := range tokens[:min(len(tokens), maxSecretDepth)] {
		words = append(words, t.word)
	}
	return s.insertWords(words, m)
}

// insertWords does the same for words that are folded already.
func (s *Secrets) insertWords(words []string, m match) *branch {
	at := &s.root
	for _, word := range words {
		next := at.next[word]
		if next == nil {
			if s.branches++; s.branches > maxBranches {
				s.tooMany = true
				return nil
			}
			if at.next == nil {
				at.next = map[string]*branch{}
			}
			next = &branch{}
			at.next[word] = next
		}
		at = next
	}
	at.match = max(at.match, m) // see match for the order
	return at
}

// continues reports whether a longer word than this leads on.
func (b *branch) continues(word string) bool {
	for next := range b.next {
		if len(next) > len(word) && strings.HasPrefix(next, word) {
			return true
		}
	}
	return false
}
