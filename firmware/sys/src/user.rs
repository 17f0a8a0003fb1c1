//! Users by /etc/passwd and /etc/group. No NSS: the appliance has none, and a static binary could not load it.
//!
//! Called by `agentd`: owner of a sandbox and user of a task. Invariant: a broken line is skipped,
//! never half used.

use std::cell::RefCell;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// Most supplementary groups taken over; NGROUPS_MAX of old kernels, enough for any board.
const MAX_GROUPS: usize = 32;

/// A user in the kernel's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one first.
    pub groups: Vec<u32>,
}

/// Why a user name means nothing here.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such line.
    #[error("user {name:?} is not in /etc/passwd")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("look up user {name:?}: read {path}: {source}")]
    Read {
        /// The name asked for.
        name: String,
        /// The file.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Looks up a user by name or decimal id.
pub fn lookup(name: &str) -> Result<Credentials, UserError> {
    Accounts::default().lookup(name)
}

/// The accounts of this machine for who asks often: their files are read again when they have changed.
#[derive(Debug, Default)]
pub struct Accounts {
    passwd: RefCell<Cached>,
    group: RefCell<Cached>,
}

/// A file as it was when it was read.
#[derive(Debug, Default)]
struct Cached {
    seen: Option<Seen>,
    text: String,
}

/// What tells one state of a file from another: device, inode, size, and both of its times with their nanoseconds.
type Seen = [i64; 7];

impl Accounts {
    /// Looks up a user by name or decimal id.
    pub fn lookup(&self, name: &str) -> Result<Credentials, UserError> {
        let [mut passwd, mut group] = [&self.passwd, &self.group].map(RefCell::borrow_mut);
        passwd.refresh(PASSWD).map_err(|source| UserError::Read {
            name: name.to_owned(),
            path: PASSWD,
            source,
        })?;
        if group.refresh(GROUP).is_err() {
            // A system without groups still has users.
            *group = Cached::default();
        }
        find(name, &passwd.text, &group.text).ok_or_else(|| UserError::Unknown {
            name: name.to_owned(),
        })
    }
}

impl Cached {
    fn refresh(&mut self, path: &str) -> io::Result<()> {
        let seen = Some(seen(&fs::metadata(path)?));
        if self.seen != seen {
            // Looked at before it is read: what changes meanwhile is read again the next time.
            self.text = fs::read_to_string(path)?;
            self.seen = seen;
        }
        Ok(())
    }
}

fn seen(file: &Metadata) -> Seen {
    [
        file.dev() as i64,
        file.ino() as i64,
        file.size() as i64,
        file.mtime(),
        file.mtime_nsec(),
        file.ctime(),
        file.ctime_nsec(),
    ]
}

/// What an image's `USER[:GROUP]` means by these texts of its own; a number needs no line. A named group is the only one.
pub fn find_in_image(text: &str, passwd: &str, group: &str) -> Option<Credentials> {
    let (name, group_name) = match text.split_once(':') {
        Some((name, group_name)) => (name, Some(group_name)),
        None => (text, None),
    };
    let by_number = || {
        let uid = name.parse().ok()?;
        Some(Credentials {
            uid,
            gid: 0,
            groups: vec![0],
        })
    };
    let user = find(name, passwd, group).or_else(by_number)?;
    let Some(wanted) = group_name else {
        return Some(user);
    };
    let line = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(wanted);
        fields.nth(1)?.parse().ok().filter(|_| found)
    });
    let gid = line.or_else(|| wanted.parse().ok())?;
    Some(Credentials {
        uid: user.uid,
        gid,
        groups: vec![gid],
    })
}

/// The names of users and groups, read once for many questions.
#[derive(Debug)]
pub struct Names {
    passwd: String,
    group: String,
}

impl Names {
    /// Reads the files; without them every name is a number.
    pub fn read() -> Self {
        Self {
            passwd: fs::read_to_string(PASSWD).unwrap_or_default(),
            group: fs::read_to_string(GROUP).unwrap_or_default(),
        }
    }

    /// A user's name, or the number.
    pub fn user(&self, uid: u32) -> String {
        name_of(&self.passwd, uid)
    }

    /// A group's name, or the number.
    pub fn group(&self, gid: u32) -> String {
        name_of(&self.group, gid)
    }
}

/// Both files have the name first and the number third.
fn name_of(file: &str, id: u32) -> String {
    let found = file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| id.to_string())
}

fn find(name: &str, passwd: &str, group: &str) -> Option<Credentials> {
    let by_id = name.parse::<u32>().ok();
    let (login, uid, gid) = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (login, _password) = (fields.next()?, fields.next()?);
        let (uid, gid): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (!login.is_empty() && (login == name || by_id == Some(uid))).then_some((login, uid, gid))
    })?;
    let mut groups = vec![gid];
    for line in group.lines() {
        let mut fields = line.split(':').skip(2);
        let (Some(Ok(id)), Some(members)) = (fields.next().map(str::parse::<u32>), fields.next())
        else {
            continue;
        };
        if members.split(',').any(|member| member == login)
            && !groups.contains(&id)
            && groups.len() < MAX_GROUPS
        {
            groups.push(id);
        }
    }
    Some(Credentials { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken line\n:x:5:5::/:/bin/sh\nada:x:1000:100:Ada:/home/ada:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:ada\ngpio:x:997:bob,ada\nnoise\nspi:x:999:adam\n";

    #[test]
    fn a_name_gives_ids_and_groups() {
        let ada = Credentials {
            uid: 1000,
            gid: 100,
            groups: vec![100, 997],
        };
        assert_eq!(find("ada", PASSWD, GROUP), Some(ada.clone()));
        assert_eq!(find("1000", PASSWD, GROUP), Some(ada));
    }

    #[test]
    fn an_images_user_may_be_a_number_and_name_its_group() {
        let found = |text: &str| {
            let user = find_in_image(text, PASSWD, GROUP)?;
            Some((user.uid, user.gid, user.groups))
        };
        assert_eq!(found("ada"), Some((1000, 100, vec![100, 997])));
        assert_eq!(found("ada:spi"), Some((1000, 999, vec![999])));
        assert_eq!(found("4000"), Some((4000, 0, vec![0])));
        assert_eq!(found("4000:5"), Some((4000, 5, vec![5])));
        for nobody in ["", "eve", "ada:nothing", ":5", "-1"] {
            assert_eq!(found(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn numbers_have_names_or_stay_numbers() {
        let names = Names {
            passwd: PASSWD.into(),
            group: GROUP.into(),
        };
        assert_eq!(
            (names.user(1000), names.user(7)),
            ("ada".into(), "7".into())
        );
        assert_eq!(
            (names.group(997), names.group(5)),
            ("gpio".into(), "5".into())
        );
    }

    #[test]
    fn a_file_is_read_again_when_it_has_changed() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let path = folder.path().join("passwd");
        let path = path.to_str().expect("text");
        let mut cached = Cached::default();
        cached.refresh(path).expect_err("nothing there");
        fs::write(path, "a").expect("write");
        cached.refresh(path).expect("read");
        cached.text.push_str(" as read");
        cached.refresh(path).expect("look");
        assert_eq!(cached.text, "a as read");
        // As tools change it: another file in its place.
        let next = folder.path().join("passwd+");
        fs::write(&next, "b").expect("write");
        fs::rename(next, path).expect("rename");
        cached.refresh(path).expect("read");
        assert_eq!(cached.text, "b");
    }

    #[test]
    fn broken_lines_and_strangers_are_nobody() {
        assert_eq!(find("broken line", PASSWD, GROUP), None);
        assert_eq!(find("", PASSWD, GROUP), None);
        assert_eq!(find("eve", PASSWD, GROUP), None);
    }
}
