package app

import "testing"

// Operators know where the FHIR server reaches us, with the base path or without.
func TestNotificationsComeBelowTheBasePathOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, base, want string }{
		{"https://graph.example", "/", "https://graph.example/fhir-notification"},
		{"https://graph.example/", "", "https://graph.example/fhir-notification"},
		{"https://graph.example/gate", "/", "https://graph.example/gate/fhir-notification"},
		{"https://graph.example", "/apps/records/", "https://graph.example/apps/records/fhir-notification"},
		{"https://graph.example/apps/records/", "/apps/records", "https://graph.example/apps/records/fhir-notification"},
		{"https://graph.example/gate", "/apps", "https://graph.example/gate/apps/fhir-notification"},
		{"https://graph.example/gate/apps", "/apps", "https://graph.example/gate/apps/fhir-notification"},
		{"https://apps:8443/%41", "/apps", "https://apps:8443/%41/apps/fhir-notification"},
	} {
		config := Config{SubscriptionURL: c.url, BasePath: c.base}
		if got := config.notificationURL(); got != c.want {
			t.Errorf("%s with %s: %s, want %s", c.url, c.base, got, c.want)
		}
	}
}
