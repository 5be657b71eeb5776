//! The examples of the answers about users.

use crate::admin::api::answers::{DeletedUser, User, Users};
use crate::admin::api::reference::example::Example;
use crate::admin::api::requests::{DeleteUser, InPool, Request, SetUser};

pub(super) fn users_example() -> Example {
    let request = Request::Users(InPool {
        pool: Some("cache".to_owned()),
    });
    let answer = Users {
        users: vec![shop()],
    };
    Example::new(request, &answer).with::<User>("Each of `users`:")
}

pub(super) fn set_user_example() -> Example {
    let request = Request::SetUser(SetUser {
        pool: "cache".to_owned(),
        user: "shop".to_owned(),
        rules: ["on", "~shop:*", "+@all", "-@dangerous"]
            .map(str::to_owned)
            .into(),
    });
    Example::new(request, &shop())
}

pub(super) fn delete_user_example() -> Example {
    let (pool, user) = ("cache".to_owned(), "shop".to_owned());
    let answer = DeletedUser {
        pool: pool.clone(),
        user: user.clone(),
        clients: 2,
    };
    Example::new(Request::DeleteUser(DeleteUser { pool, user }), &answer)
}

fn shop() -> User {
    User {
        pool: "cache".to_owned(),
        user: "shop".to_owned(),
        enabled: true,
        nopass: false,
        passwords: 1,
        keys: "~shop:*".to_owned(),
        channels: String::new(),
        commands: "+@all -@dangerous".to_owned(),
        clients: 2,
    }
}
