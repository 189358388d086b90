package mirror

import (
	"compress/gzip"
	"fmt"
	"io"
	"regexp"
	"strings"
)

const gzipMagic = "\x1f\x8b"

// foreign are files whose first bytes say that no line of them can be read.
var foreign = []struct{ magic, name string }{
	{"PK\x03\x04", "a zip archive: unpack it first"},
	{gzipMagic, "gzip within gzip: unpack it first"},
	{"BZh", "a bzip2 file: unpack it first"},
	{"\xfd7zXZ\x00", "an xz file: unpack it first"},
	{"\x28\xb5\x2f\xfd", "a zstd file: unpack it first"},
	{"\xff\xfe", "text in UTF-16: save it as UTF-8"},
	{"\xfe\xff", "text in UTF-16: save it as UTF-8"},
	{"{\x00", "text in UTF-16: save it as UTF-8"},
	{"\x00{", "text in UTF-16: save it as UTF-8"},
	{"%PDF", "a PDF file"},
	{"SQLite format 3\x00", "an SQLite database"},
}

// open finds what a file is, and unpacks it if it is gzip.
func open(r io.Reader) (*source, string, error) {
	s := newSource(r)
	if magic, _ := s.r.Peek(len(gzipMagic)); string(magic) == gzipMagic {
		unpacked, err := gzip.NewReader(s.r)
		if err != nil {
			return nil, "", fmt.Errorf("the gzip file is damaged: %w", err)
		}
		s = newSource(unpacked)
	}
	head, _ := s.r.Peek(512) // an error comes again with the bytes that it cost
	for _, f := range foreign {
		if strings.HasPrefix(string(head), f.magic) {
			return nil, "", fmt.Errorf("the file looks like %s", f.name)
		}
	}
	return s, looksLike(head), nil
}

const looksEmpty = "nothing"

// The signs of what import does not take. None of them repeats patients' data.
var (
	signs = []struct {
		sign *regexp.Regexp
		name string
	}{
		{regexp.MustCompile(`^$`), looksEmpty},
		{regexp.MustCompile(`(?i)^<(!doctype )?html`), "a web page (HTML): perhaps a login page was saved"},
		{regexp.MustCompile(`^<[^>]*>?[^<]*(<[^>]*)?http://hl7\.org/fhir`), "FHIR in XML: export it as JSON"},
		{regexp.MustCompile(`^<`), "XML"},
		{regexp.MustCompile(`^(MSH|FHS|BHS)[|^]`), "HL7 version 2 messages"},
		{regexp.MustCompile(`^\[`), "a JSON array: import takes one Patient a line, or a Bundle"},
		{regexp.MustCompile(`^\{[^{}\[\]]*"resourceType"\s*:\s*"Patient"`), "FHIR Patients that are damaged or written over several lines in another way"},
		{regexp.MustCompile(`^\{`), "JSON, but not FHIR Patients"},
		{regexp.MustCompile(`^[^\n]*[^\n,;\t][,;\t][^\n,;\t]`), "a table (CSV)"},
	}
	otherResource = regexp.MustCompile(`^\{[^{}\[\]]*"resourceType"\s*:\s*"([A-Za-z]{1,40})"`)
)

// looksLike says what a file is by its first bytes.
func looksLike(head []byte) string {
	text := strings.TrimSpace(strings.TrimPrefix(string(head), byteOrderMark))
	for _, s := range signs {
		if !s.sign.MatchString(text) {
			continue
		}
		if kind := otherResource.FindStringSubmatch(text); kind != nil && kind[1] != "Patient" {
			return "FHIR resources of the type " + kind[1]
		}
		return s.name
	}
	return "text that is no JSON"
}
