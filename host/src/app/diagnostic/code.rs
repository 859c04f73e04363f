//! The codes of findings. A code never changes its meaning, and one that is given up is not used again.

use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is not served: a function, or the whole app.
    Error,
    /// Something is served, and probably not as it was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal $severity:ident,)+) => {
        /// What kind of finding it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$name),+];

            /// The code as it is written, for example `S0101`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)+
                }
            }

            /// How much findings of this kind matter.
            pub fn severity(self) -> Severity {
                match self {
                    $(Code::$name => Severity::$severity,)+
                }
            }
        }
    };
}

codes! {
    /// The app folder cannot be used.
    AppFolder = "S0001" Error,
    /// A file of the app cannot be read.
    Unreadable = "S0002" Error,
    /// The app has no functions.
    NoFunctions = "S0003" Warning,
    /// `host.json` is not JSON.
    HostJsonSyntax = "S0101" Error,
    /// `host.json` has no `version`, or another one than 2.0.
    HostJsonVersion = "S0102" Error,
    /// A value in `host.json`, or of a setting that overrides it, is not allowed.
    HostJsonValue = "S0103" Error,
    /// A key of `host.json` or `local.settings.json` means nothing.
    HostJsonKey = "S0104" Warning,
    /// Keys of `host.json` that mean something to Azure Functions only.
    NotApplicable = "S0105" Warning,
    /// A key is there twice.
    DuplicateKey = "S0106" Warning,
    /// `functions` names a function that is not there.
    ListedFunction = "S0107" Warning,
    /// A setting disables a function that is not there.
    DisabledNobody = "S0108" Warning,
    /// `local.settings.json` is not JSON.
    SettingsSyntax = "S0111" Error,
    /// A value in `local.settings.json` is not allowed.
    SettingsValue = "S0112" Error,
    /// `function.json` is not JSON.
    FunctionJsonSyntax = "S0201" Error,
    /// The folder's name is no function's name.
    FunctionName = "S0202" Error,
    /// There are no bindings.
    NoBindings = "S0203" Error,
    /// A key of `function.json` means nothing.
    FunctionJsonKey = "S0204" Warning,
    /// There is no trigger.
    NoTrigger = "S0205" Error,
    /// There are several triggers.
    ManyTriggers = "S0206" Error,
    /// A binding has no type.
    NoBindingType = "S0207" Error,
    /// A binding has no name, or one that is not allowed.
    BindingName = "S0208" Error,
    /// Two bindings have one name.
    DuplicateBinding = "S0209" Error,
    /// The binding's type is not served.
    BindingType = "S0210" Error,
    /// The binding's direction is wrong.
    Direction = "S0211" Error,
    /// A value in `function.json` has the wrong type or is none of those allowed.
    FunctionJsonValue = "S0212" Error,
    /// A `%SETTING%` has no value.
    MissingSetting = "S0213" Error,
    /// A durable client where there can be none.
    ClientNotAllowed = "S0214" Error,
    /// The task hub is not this app's.
    OtherTaskHub = "S0215" Error,
    /// The name of an orchestration or entity is not allowed.
    DurableName = "S0216" Error,
    /// The `retry` section is not valid.
    Retry = "S0217" Error,
    /// The schedule is not valid.
    Schedule = "S0218" Error,
    /// The time zone is not known.
    TimeZone = "S0219" Error,
    /// The schedule has no next occurrence.
    ScheduleNever = "S0220" Warning,
    /// The function is disabled.
    Disabled = "S0221" Note,
    /// `retry` has no effect on this kind of function.
    RetryWithoutEffect = "S0222" Warning,
    /// The route is reserved for the host.
    RouteReserved = "S0301" Error,
    /// The route template is not valid.
    RouteTemplate = "S0302" Error,
    /// Another function has the same route.
    RouteTaken = "S0303" Error,
    /// Two routes match the same requests and neither is more specific.
    RouteAmbiguous = "S0304" Warning,
    /// No request reaches the function: others come first.
    RouteShadowed = "S0305" Warning,
    /// Another function has the same durable name.
    DurableNameTaken = "S0306" Error,
    /// Another folder has the same name but for upper and lower case.
    FunctionNameTaken = "S0307" Error,
    /// The component's file does not exist.
    ScriptMissing = "S0401" Error,
    /// The component's file is not in the app folder.
    ScriptOutside = "S0402" Error,
    /// There is no component, and nothing says where it would be.
    ScriptUnknown = "S0403" Error,
    /// The file is no component.
    NotAComponent = "S0404" Error,
    /// The component's file is too large.
    ComponentTooLarge = "S0405" Error,
    /// The component imports what no binding grants.
    ImportNotGranted = "S0406" Error,
    /// The component lacks the export that the trigger needs.
    MissingExport = "S0407" Error,
    /// The component is made for a contract that this host does not speak.
    UnknownContract = "S0408" Error,
    /// The component does not hold the function.
    UnknownHandler = "S0409" Error,
    /// The component cannot be compiled or linked.
    NotRunnable = "S0410" Error,
}

impl Code {
    /// The code that a text is, without regard to case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
