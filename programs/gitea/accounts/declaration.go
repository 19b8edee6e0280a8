package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"code.gitea.io/gitea/models/perm"
	"code.gitea.io/gitea/services/auth/source/oauth2"
)

// declaration is what the platform wants to be there.
type declaration struct {
	SignOn        signOn         `json:"signOn"`
	Account       account        `json:"account"`
	Organisations []organisation `json:"organisations"`
}

// signOn says where people come from.
type signOn struct {
	// Name is a part of the address to which Keycloak sends people back.
	Name string `json:"name"`
	// Client is Gitea's name in the realm.
	Client string `json:"client"`
	// Host is the identity provider's name beside Gitea's own, below the same domain.
	Host  string `json:"host"`
	Realm string `json:"realm"`
	// Admins is the group whose members administer Gitea.
	Admins string `json:"admins"`
	// Teams are those of which a group's members are, by group and organisation.
	Teams map[string]map[string][]string `json:"teams"`
}

// account is for programs: nobody can sign in as it.
type account struct {
	Name string `json:"name"`
	// Token is the name of its access token.
	Token string `json:"token"`
}

type organisation struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Teams       []team `json:"teams"`
}

type team struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	// Access to every repository of the organisation: read or write.
	Access string `json:"access"`
	// Creates says whether members may make repositories in the organisation.
	Creates bool `json:"creates"`
}

func (one team) mode() perm.AccessMode {
	return perm.ParseAccessMode(one.Access, perm.AccessModeRead, perm.AccessModeWrite)
}

func read(path string) (*declaration, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	wanted := &declaration{}
	if err := decoder.Decode(wanted); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return wanted, wanted.check(path)
}

func (wanted *declaration) check(path string) error {
	known := map[string]bool{}
	for _, organisation := range wanted.Organisations {
		known[organisation.Name+"/Owners"] = true
		for _, team := range organisation.Teams {
			if team.mode() == perm.AccessModeNone {
				return fmt.Errorf("%s: team %s has access %q; it must be read or write", path, team.Name, team.Access)
			}
			known[organisation.Name+"/"+team.Name] = true
		}
	}
	for group, organisations := range wanted.SignOn.Teams {
		for organisation, teams := range organisations {
			for _, team := range teams {
				if !known[organisation+"/"+team] {
					return fmt.Errorf("%s: group %s is for %s/%s, which is not declared", path, group, organisation, team)
				}
			}
		}
	}
	return nil
}

// source says it in Gitea's words; the domain is that of Gitea's own name.
func (one signOn) source(key, name string) (*oauth2.Source, error) {
	_, domain, found := strings.Cut(name, ".")
	if !found {
		return nil, fmt.Errorf("server.DOMAIN %q has no domain in which %s could be", name, one.Host)
	}
	teams, err := json.Marshal(one.Teams)
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("https://%s.%s/realms/%s/.well-known/openid-configuration", one.Host, domain, one.Realm)
	return &oauth2.Source{
		Provider:                      "openidConnect",
		ClientID:                      one.Client,
		ClientSecret:                  key,
		OpenIDConnectAutoDiscoveryURL: address,
		CustomURLMapping:              &oauth2.CustomURLMapping{},
		Scopes:                        []string{"openid"},
		// Who is in no group of the platform's has no such claim.
		RequiredClaimName:   "groups",
		GroupClaimName:      "groups",
		AdminGroup:          one.Admins,
		GroupTeamMap:        string(teams),
		GroupTeamMapRemoval: true,
		FullNameClaimName:   "name",
	}, nil
}
