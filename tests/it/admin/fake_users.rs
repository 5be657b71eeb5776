//! Answers about users, scripted.

use ringroad::admin::api::answers::{DeletedUser, User, Users};
use ringroad::admin::api::requests::{DeleteUser, SetUser};
use ringroad::admin::api::{Answer, UserRequests};

use super::fake::{Script, Stage};

impl UserRequests for Script {
    fn users(&self, pool: Option<String>) -> Answer<'_, Users> {
        self.answer(format!("users {pool:?}"), Users::default())
    }

    fn set_user(&self, set: SetUser) -> Answer<'_, User> {
        let user = User {
            pool: set.pool.clone(),
            user: "shop\u{1b}[2J".to_owned(),
            nopass: true,
            ..User::default()
        };
        self.answer(format!("{set:?} {:?}", set.rules), user)
    }

    fn delete_user(&self, delete: DeleteUser) -> Answer<'_, DeletedUser> {
        self.answer(format!("{delete:?}"), DeletedUser::default())
    }
}

#[test]
fn password_of_a_user_is_sent_as_its_hash() {
    let stage = Stage::set();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let in_file = format!(">file:{}", file.path().display());
    let hash = "#f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    for password in [in_file.as_str(), ">hunter2"] {
        let (text, asked) = stage.ask(&["setuser", "cache", "shop", "on", password, "~a:*"]);
        let expected =
            format!(r#"SetUser {{ pool: "cache", user: "shop", .. }} ["on", "{hash}", "~a:*"]"#);
        assert_eq!(asked, expected);
        assert_eq!(
            text,
            "POOL   USER           STATE  PASSWORDS  CLIENTS  KEYS  CHANNELS  COMMANDS\n\
             cache  shop\\u{1b}[2J  off          any        0  -     -         -\n"
        );
    }
}
