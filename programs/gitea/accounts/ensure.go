package main

import (
	"context"
	"crypto/subtle"
	"errors"

	"code.gitea.io/gitea/models/auth"
	"code.gitea.io/gitea/models/db"
	"code.gitea.io/gitea/models/organization"
	"code.gitea.io/gitea/models/perm"
	"code.gitea.io/gitea/models/unit"
	"code.gitea.io/gitea/models/user"
	"code.gitea.io/gitea/modules/optional"
	"code.gitea.io/gitea/modules/structs"
	"code.gitea.io/gitea/modules/util"
	"code.gitea.io/gitea/services/auth/source/oauth2"
	org_service "code.gitea.io/gitea/services/org"

	"xorm.io/builder"
)

// ensureSource writes the source itself: Gitea's own functions would ask Keycloak for its configuration first, and refuse
// where it is away. The server asks when the first person signs in.
func ensureSource(ctx context.Context, name string, wanted *oauth2.Source) error {
	found, has, err := db.Get[auth.Source](ctx, builder.Eq{"name": name})
	if err != nil {
		return err
	}
	if !has {
		found = &auth.Source{Name: name}
	}
	found.Type = auth.OAuth2
	found.IsActive = true
	// Keycloak asks for a second factor where somebody has one.
	found.TwoFactorPolicy = "skip"
	found.Cfg = wanted
	if has {
		_, err = db.GetEngine(ctx).ID(found.ID).AllCols().Update(found)
		return err
	}
	return db.Insert(ctx, found)
}

func ensureAccount(ctx context.Context, wanted account, token string) (*user.User, error) {
	found, err := user.GetUserByName(ctx, wanted.Name)
	if errors.Is(err, util.ErrNotExist) {
		// Without a password, and mail goes nowhere.
		found = &user.User{Name: wanted.Name, Email: wanted.Name + "@localhost.invalid", IsAdmin: true}
		visibility := structs.VisibleTypePrivate
		how := &user.CreateUserOverwriteOptions{IsActive: optional.Some(true), Visibility: &visibility}
		err = user.CreateUser(ctx, found, &user.Meta{}, how)
	}
	if err != nil {
		return nil, err
	}
	if found.LoginType != auth.NoType && found.LoginType != auth.Plain {
		return nil, errors.New("the name belongs to a person who signed in by Keycloak")
	}
	if !found.IsAdmin {
		found.IsAdmin = true
		if err := user.UpdateUserCols(ctx, found, "is_admin"); err != nil {
			return nil, err
		}
	}
	return found, ensureToken(ctx, found, wanted.Token, token)
}

func ensureToken(ctx context.Context, owner *user.User, name, token string) error {
	if len(token) != 40 {
		return errors.New("its token must be 40 hexadecimal digits, as Gitea's are")
	}
	scope, err := auth.AccessTokenScopeAll.Normalize()
	if err != nil {
		return err
	}
	listed, err := db.Find[auth.AccessToken](ctx, auth.ListAccessTokensOptions{UserID: owner.ID, Name: name})
	if err != nil {
		return err
	}
	for _, each := range listed {
		hashed := auth.HashToken(token, each.TokenSalt)
		if each.Scope == scope && subtle.ConstantTimeCompare([]byte(hashed), []byte(each.TokenHash)) == 1 {
			return nil
		}
		if err := auth.DeleteAccessTokenByID(ctx, each.ID, owner.ID); err != nil {
			return err
		}
	}
	salt, err := util.CryptoRandomString(10)
	if err != nil {
		return err
	}
	return db.Insert(ctx, &auth.AccessToken{
		UID:            owner.ID,
		Name:           name,
		TokenHash:      auth.HashToken(token, salt),
		TokenSalt:      salt,
		TokenLastEight: token[len(token)-8:],
		Scope:          scope,
	})
}

func ensureOrganisation(ctx context.Context, wanted organisation, owner *user.User) error {
	found, err := organization.GetOrgByName(ctx, wanted.Name)
	if organization.IsErrOrgNotExist(err) {
		found = &organization.Organization{Name: wanted.Name, Description: wanted.Description, IsActive: true}
		found.Type = user.UserTypeOrganization
		// People who have signed in see it; what they may do there their teams say.
		found.Visibility = structs.VisibleTypeLimited
		err = organization.CreateOrganization(ctx, found, owner)
	}
	if err != nil {
		return err
	}
	for _, each := range wanted.Teams {
		if err := ensureTeam(ctx, found, each); err != nil {
			return err
		}
	}
	return nil
}

func ensureTeam(ctx context.Context, parent *organization.Organization, wanted team) error {
	mode := wanted.mode()
	found, err := organization.GetTeam(ctx, parent.ID, wanted.Name)
	if organization.IsErrTeamNotExist(err) {
		made := &organization.Team{
			OrgID:                   parent.ID,
			Name:                    wanted.Name,
			Description:             wanted.Description,
			AccessMode:              mode,
			IncludesAllRepositories: true,
			CanCreateOrgRepo:        wanted.Creates,
		}
		for _, kind := range unit.AllRepoUnitTypes {
			access := mode
			if kind == unit.TypeExternalTracker || kind == unit.TypeExternalWiki {
				access = perm.AccessModeRead
			}
			made.Units = append(made.Units, &organization.TeamUnit{OrgID: parent.ID, Type: kind, AccessMode: access})
		}
		return org_service.NewTeam(ctx, made)
	}
	if err != nil || found.CanCreateOrgRepo == wanted.Creates {
		return err
	}
	found.CanCreateOrgRepo = wanted.Creates
	return org_service.UpdateTeam(ctx, found, false, false)
}
