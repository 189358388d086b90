package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"patientgraph/graph"
)

// mobile is examples/mobile.
func mobile(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../examples/mobile", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestMobileOperations: the operations are valid, and Outcome has a branch for each answer.
func TestMobileOperations(t *testing.T) {
	t.Parallel()
	schema, err := gqlparser.LoadSchema(&ast.Source{Input: graph.SDL()})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../examples/mobile/operations/*.graphql")
	if err != nil || len(files) < 5 {
		t.Fatalf("the operations are %v (%v)", files, err)
	}
	var all strings.Builder
	for _, file := range files {
		all.WriteString(mobile(t, "operations/"+filepath.Base(file)))
	}
	document, faults := gqlparser.LoadQueryWithRules(schema, all.String(), rules.NewDefaultRules())
	if faults != nil {
		t.Fatal(faults)
	}
	for _, o := range document.Operations {
		if o.Name == "" {
			t.Error("an operation has no name")
		}
	}
	var reached []string
	for _, s := range document.Fragments.ForName("Outcome").SelectionSet {
		switch s := s.(type) {
		case *ast.InlineFragment:
			reached = append(reached, s.TypeCondition)
		case *ast.FragmentSpread:
			for _, member := range schema.GetPossibleTypes(schema.Types[document.Fragments.ForName(s.Name).TypeCondition]) {
				reached = append(reached, member.Name)
			}
		}
	}
	for _, member := range schema.Types["UpdatePatientContactResult"].Types {
		if !slices.Contains(reached, member) {
			t.Errorf("Outcome says nothing of %s", member)
		}
		if !strings.Contains(mobile(t, "README.md"), "`"+member+"`") {
			t.Errorf("the outbox's table has no %s", member)
		}
	}
}

// TestMobileConfigurations: what generates code knows our files, scalars and versions. The
// keys are those that Apollo iOS 2.4 decodes (ApolloCodegenConfiguration): it ignores others.
func TestMobileConfigurations(t *testing.T) {
	t.Parallel()
	decoder := json.NewDecoder(strings.NewReader(mobile(t, "ios/apollo-codegen-config.json")))
	decoder.DisallowUnknownFields()
	type empty struct{}
	var ios struct {
		SchemaNamespace string
		Input           struct{ SchemaSearchPaths, OperationSearchPaths []string }
		Output          struct {
			SchemaTypes struct {
				Path       string
				ModuleType struct{ SwiftPackage *empty }
			}
			Operations struct{ InSchemaModule *empty }
			TestMocks  struct{ None *empty }
		}
		Options struct{ WarningsOnDeprecatedUsage, SchemaDocumentation string }
	}
	if err := decoder.Decode(&ios); err != nil {
		t.Fatal(err)
	}
	out := ios.Output
	if ios.SchemaNamespace == "" || out.SchemaTypes.Path == "" || out.SchemaTypes.ModuleType.SwiftPackage == nil || out.Operations.InSchemaModule == nil {
		t.Errorf("Apollo iOS lacks a member: %+v", ios)
	}
	gradle := mobile(t, "android/build.gradle.kts")
	paths := slices.Concat(ios.Input.SchemaSearchPaths, ios.Input.OperationSearchPaths)
	for _, m := range regexp.MustCompile(`(?:srcDir|schemaFiles\.from)\("([^"]+)"\)`).FindAllStringSubmatch(gradle, -1) {
		paths = append(paths, m[1])
	}
	for _, path := range paths {
		if found, err := filepath.Glob(filepath.Join("../examples/mobile/ios", path)); err != nil || len(found) == 0 {
			t.Errorf("there is no %s (%v)", path, err)
		}
	}
	for _, scalar := range regexp.MustCompile(`(?m)^scalar (\w+)`).FindAllStringSubmatch(graph.SDL(), -1) {
		if !strings.Contains(gradle, `mapScalarToKotlinString("`+scalar[1]+`")`) {
			t.Errorf("Gradle does not know the scalar %s", scalar[1])
		}
	}
	pom, err := os.ReadFile("../.ci/kotlin/pom.xml")
	if err != nil {
		t.Fatal(err)
	}
	versions := regexp.MustCompile(`version "([0-9.]+)"|apollo-runtime:([0-9.]+)"`).FindAllStringSubmatch(gradle, -1)
	if len(versions) != 3 {
		t.Errorf("Gradle names the versions %v", versions)
	}
	for _, m := range versions {
		if !strings.Contains(string(pom), "<version>"+m[1]+m[2]+"</version>") {
			t.Errorf("Gradle has version %s%s, which CI does not try", m[1], m[2])
		}
	}
}
