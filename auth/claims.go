package auth

import (
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	defaultRoleClaim    = "role"
	defaultPatientClaim = "patient_id"
)

func (c Config) roleClaim() string {
	if c.RoleClaim == "" {
		return defaultRoleClaim
	}
	return c.RoleClaim
}

func (c Config) patientClaim() string {
	if c.PatientClaim == "" {
		return defaultPatientClaim
	}
	return c.PatientClaim
}

// viewer reads the claims that the configuration names. Claims that are
// missing or have an unexpected shape leave their field empty, which allows
// nothing.
func (c Config) viewer(claims jwt.MapClaims) (Viewer, error) {
	subject, err := claims.GetSubject()
	if err != nil {
		return Viewer{}, err
	}
	patientID, _ := lookup(claims, c.patientClaim()).(string)
	return Viewer{
		Subject:   subject,
		Role:      roleOf(lookup(claims, c.roleClaim())),
		PatientID: patientID,
		grants:    grantsOf(claims),
	}, nil
}

// lookup follows a dotted path through nested objects. A claim whose own name
// holds dots (https://example.org/role) is found too: the longest name wins.
func lookup(claims map[string]any, path string) any {
	if v, ok := claims[path]; ok {
		return v
	}
	for i := strings.LastIndexByte(path, '.'); i >= 0; i = strings.LastIndexByte(path[:i], '.') {
		nested, ok := claims[path[:i]].(map[string]any)
		if !ok {
			continue
		}
		if v := lookup(nested, path[i+1:]); v != nil {
			return v
		}
	}
	return nil
}

// roleOf reads a role claim: a string, or an array (Keycloak, Entra ID) of
// which the first known role counts; with none known, the first string.
func roleOf(claim any) Role {
	switch claim := claim.(type) {
	case string:
		return Role(claim)
	case []any:
		var first Role
		for _, element := range claim {
			s, _ := element.(string)
			if Role(s).Known() {
				return Role(s)
			}
			if first == "" {
				first = Role(s)
			}
		}
		return first
	default:
		return ""
	}
}

// Sign makes an HS256 token that a Verifier with the same secret and the same
// Issuer, Audience, RoleClaim and PatientClaim accepts until now+ttl. The
// other fields of c are ignored. It is meant for development and the demo: the
// subject is derived from the role and the patient. patientID may be empty.
func Sign(secret []byte, c Config, role Role, patientID string, ttl time.Duration, now time.Time) (string, error) {
	if err := checkSecret(secret); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	if role == "" {
		return "", fmt.Errorf("sign token: no role")
	}
	if ttl < time.Second {
		return "", fmt.Errorf("sign token: lifetime %v is shorter than a second", ttl)
	}
	claims := map[string]any{}
	if err := put(claims, c.roleClaim(), string(role)); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	subject := string(role)
	if patientID != "" {
		subject += ":" + patientID
		if err := put(claims, c.patientClaim(), patientID); err != nil {
			return "", fmt.Errorf("sign token: %w", err)
		}
	}
	claims["sub"] = subject
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(ttl).Unix()
	if c.Issuer != "" {
		claims["iss"] = c.Issuer
	}
	if c.Audience != "" {
		claims["aud"] = c.Audience
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims)).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// put stores the value where lookup finds it under the same path.
func put(claims map[string]any, path, value string) error {
	name, rest, nested := strings.Cut(path, ".")
	if !nested {
		if _, taken := claims[name]; taken {
			return fmt.Errorf("claim %q is used twice", name)
		}
		claims[name] = value
		return nil
	}
	if claims[name] == nil {
		claims[name] = map[string]any{}
	}
	inner, ok := claims[name].(map[string]any)
	if !ok {
		return fmt.Errorf("claim %q is used twice", name)
	}
	return put(inner, rest, value)
}
