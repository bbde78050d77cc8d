//! The columns of a table (`--fields`): fields of filters, by the names of the JSON log.

use std::str::FromStr;
use std::sync::Arc;

use crate::export::Subject;
use crate::http::filter::field::{self, Field, Lines};

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// The name of the sensor.
    Sensor,
    /// A field.
    Field(Field),
}

impl Column {
    fn of(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("sensor") { Some(Self::Sensor) } else { Field::of(name).map(Self::Field) }
    }

    /// Its name in the header.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Sensor => "sensor".to_owned(),
            Self::Field(field) => field.text(),
        }
    }
}

/// Columns, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(Arc<[Column]>);

/// Columns that there are not.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ColumnsError {
    /// No field has this name.
    #[error("{name:?} is no field: needed sensor, {known}, separated by commas", known = field::listed())]
    Unknown {
        /// As it was written.
        name: String,
    },
    /// A field is named twice.
    #[error("{0} is named twice: tables have each column once")]
    Twice(String),
}

impl FromStr for Columns {
    type Err = ColumnsError;

    fn from_str(text: &str) -> Result<Self, ColumnsError> {
        let mut columns: Vec<Column> = Vec::new();
        for name in text.split(',').map(str::trim) {
            let column = Column::of(name).ok_or_else(|| ColumnsError::Unknown { name: name.to_owned() })?;
            if columns.contains(&column) {
                return Err(ColumnsError::Twice(column.text()));
            }
            columns.push(column);
        }
        Ok(Self(columns.into()))
    }
}

impl Columns {
    /// What most want to know.
    ///
    /// # Panics
    /// Never: the names are those of fields, which a test shows.
    #[must_use]
    pub fn usual(subject: Subject) -> Self {
        let names = match subject {
            Subject::Transactions => {
                "ts,conn,seq,client,client_port,server,server_port,method,host,target,version,status,request_body_bytes,response_body_bytes,\
                 ttfb_us,duration_us,user_agent,referer,flags"
            }
            Subject::Tls => {
                "ts,conn,client,client_port,server,server_port,tls.sni,tls.version,tls.cipher,tls.alpn,established,decrypted,reason,\
                 client_bytes,server_bytes,duration_us"
            }
        };
        names.parse().expect("names of fields")
    }

    /// The columns.
    #[must_use]
    pub fn all(&self) -> &[Column] {
        &self.0
    }

    /// The fields among them.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().filter_map(|column| match column {
            Column::Field(field) => Some(field),
            Column::Sensor => None,
        })
    }

    /// The first that lines about this do not have.
    #[must_use]
    pub fn foreign(&self, subject: Subject) -> Option<&Field> {
        let foreign = if subject == Subject::Tls { Lines::Transactions } else { Lines::Tls };
        self.fields().find(|field| field.lines() == foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_fields_each_once() {
        let columns: Columns = "ts, Host,tls.SNI,sensor,duration".parse().unwrap();
        let names: Vec<String> = columns.all().iter().map(Column::text).collect();
        assert_eq!(names, ["ts", "host", "tls.sni", "sensor", "duration_us"]);
        for (wrong, said) in [
            ("ts,hots", "\"hots\" is no field: needed sensor, method"),
            ("", "\"\" is no"),
            ("ttfb,wait", "ttfb_us is named twice"),
        ] {
            let error = wrong.parse::<Columns>().unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
        for subject in [Subject::Transactions, Subject::Tls] {
            assert_eq!(Columns::usual(subject).foreign(subject), None);
        }
        assert!(Columns::usual(Subject::Tls).foreign(Subject::Transactions).is_some());
    }
}
