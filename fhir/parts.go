package fhir

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parts are what is looked for within the words and numbers of a text, not only
// as a whole: a value may be inflected (Solveigs), glued (FHIRSolveig) or cut by
// a database (Solvei), and a number be repeated in part. Shorter words and
// numbers than these are parts of too many others.
type parts struct {
	words      []string        // of minPartLetters and more; in order once sort was called
	beginnings map[string]bool // of words: minBeginning letters and more, and at least half
	stems      map[string]bool // of the words of names and places: what stays of them when they are inflected
	fours      map[string]bool // each four digits in a row of a number of minPartDigits and more
}

const (
	minPartLetters = 5
	maxPartLetters = 64 // of a longer word its beginning is looked for
	minBeginning   = 4
	minPartDigits  = 7
	maxEnding      = 5 // letters that an inflected word may have behind its stem
)

func newParts() parts {
	return parts{beginnings: map[string]bool{}, stems: map[string]bool{}, fours: map[string]bool{}}
}

// add adds the words and numbers of a value; those of names and places are inflected.
func (p *parts) add(f folded, inflected bool) {
	digits, end := "", 0
	for _, t := range f.tokens {
		text := f.text[t.at:t.end]
		if !t.digits || t.at-end > maxGap {
			p.addNumber(digits)
			digits = ""
		}
		if end = t.end; t.digits {
			digits += text
		} else if !t.glued && !commonWords[t.word] {
			p.addWord(t.word)
			p.addWord(text)
			if inflected {
				p.addStem(t.word)
			}
			if last, size := utf8.DecodeLastRuneInString(text); unicode.In(last, unicode.Cyrillic, unicode.Greek) {
				p.addWord(text[:len(text)-size]) // their endings change: Иванова, Ивановой
			}
		}
	}
	p.addNumber(digits)
}

func (p *parts) addWord(word string) {
	size := min(utf8.RuneCountInString(word), maxPartLetters)
	if size < minPartLetters {
		return
	}
	letters := 0
	for at := range word {
		if letters >= max(minBeginning, (size+1)/2) {
			p.beginnings[word[:at]] = true
		}
		if letters == size {
			word = word[:at]
			break
		}
		letters++
	}
	p.words = append(p.words, word)
}

// addStem adds what other forms of a name begin with: Zofi of Zofia, Zofii, Virt of
// Virtanen, Virtasen, Helsingi of Helsinki, Helsingissä. Of three letters all stay: Kim,
// Kims.
func (p *parts) addStem(word string) {
	letters := []rune(word)
	if n := len(letters); n >= 3 && n <= maxPartLetters {
		p.stems[word] = true
		p.stems[string(letters[:max(3, n-max(1, n*3/8))])] = true
	}
	if before, is := strings.CutSuffix(word, "nen"); is { // Makinen, Makisen, Makista
		p.stems[before+"s"] = true
	}
	if last := len(word) - 1; last >= minBeginning-1 {
		if len(letters) > minPartLetters { // Rovaniemella
			p.stems[string(letters[:len(letters)-1])] = true
		}
		for strong, weak := range gradation {
			if stem, is := strings.CutSuffix(word[:last], strong); is {
				if stem += weak; len(stem) < minBeginning {
					stem += word[last:]
				}
				p.stems[stem] = true
			}
			if stem, is := strings.CutSuffix(word[:last], weak); is && word[last] == 'e' { // Rinne, Rinteen
				p.stems[stem+strong+"e"] = true
			}
		}
	}
}

// gradation is what becomes of the consonants before the last vowel of a Finnish name when
// an ending closes its syllable; where the name ends with e it is the other way round.
var gradation = map[string]string{
	"nk": "ng", "nt": "nn", "mp": "mm", "lt": "ll", "rt": "rr", "ht": "hd", "kk": "k", "pp": "p", "tt": "t", "rk": "r", "lk": "l",
}

// isForm reports whether a word may be another form of a name: a stem and an ending, of
// one letter where the stem is as short as many words' beginnings.
func (p *parts) isForm(word string) bool {
	letters := []rune(word)
	for ending := 0; ending <= min(maxEnding, len(letters)-3); ending++ {
		if stem := letters[:len(letters)-ending]; p.stems[string(stem)] && (len(stem) > 3 || ending <= 1) {
			return true
		}
	}
	return false
}

func (p *parts) addNumber(digits string) {
	if len(digits) < minPartDigits {
		return
	}
	for at := range len(digits) - 3 {
		p.fours[digits[at:at+4]] = true
	}
}

// sort puts the words in order and drops those that begin with another: what
// contains them contains that. So at most one word begins at a place of a text,
// and it is the one before that place in the order.
func (p *parts) sort() {
	slices.Sort(p.words)
	kept := p.words[:0]
	for _, word := range p.words {
		if n := len(kept); n == 0 || !strings.HasPrefix(word, kept[n-1]) {
			kept = append(kept, word)
		}
	}
	p.words = kept
}

// inWord reports whether a folded word contains a value or is the beginning of one.
func (p *parts) inWord(word string) bool {
	if p.beginnings[word] {
		return true
	}
	for at := range word {
		rest := word[at:]
		if len(rest) < minPartLetters {
			break
		}
		i, found := slices.BinarySearch(p.words, rest)
		if found || i > 0 && strings.HasPrefix(rest, p.words[i-1]) {
			return true
		}
	}
	return false
}

// hasFours reports whether each four digits in a row are a part of a number: so
// they are if all of the digits are.
func (p *parts) hasFours(digits []byte) bool {
	for at := range len(digits) - 3 {
		if !p.fours[string(digits[at:at+4])] {
			return false
		}
	}
	return true
}

// findPart hides the i-th token, with the digits glued to it, where it shows a
// part of a value and is no ordinary word.
func (r *reading) findPart(i int) {
	t, p := r.tokens[i], &r.secrets.parts
	if t.digits || t.glued || commonWords[t.word] || r.isSafe(t.at) {
		return
	}
	if text := r.text[t.at:t.end]; !p.inWord(t.word) && !p.isForm(t.word) && (text == t.word || !p.inWord(text)) {
		return
	}
	at := span{t.at, t.end}
	if i > 0 && r.tokens[i-1].digits && r.tokens[i-1].end == at.from {
		at.from = r.tokens[i-1].at
	}
	if i+1 < len(r.tokens) && r.tokens[i+1].digits && r.tokens[i+1].at == at.to {
		at.to = r.tokens[i+1].end
	}
	r.hidden = append(r.hidden, at)
}
