//! The attribute macros of `soloist-sdk`; their documentation is there.
//!
//! Each leaves the function as it is, so that tests can call it, and adds beside it:
//! - an entry in the SDK's registry with the code that turns payloads into parameters and results into payloads;
//! - on wasm, a line `<kind> <name>` in the custom section `soloist-functions`, by which the host can list what a component
//!   holds without running it.

use proc_macro::TokenStream;
use proc_macro2::{Literal, TokenStream as Tokens};
use quote::quote;
use syn::{Error, FnArg, ItemFn, LitStr, Result, Type, parse_macro_input};

#[proc_macro_attribute]
#[doc = "See `soloist_sdk::orchestrator`."]
pub fn orchestrator(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(Kind::Orchestrator, attribute, item)
}

#[proc_macro_attribute]
#[doc = "See `soloist_sdk::activity`."]
pub fn activity(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(Kind::Activity, attribute, item)
}

#[proc_macro_attribute]
#[doc = "See `soloist_sdk::http_trigger`."]
pub fn http_trigger(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(Kind::Http, attribute, item)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Orchestrator,
    Activity,
    Http,
}

/// What a parameter is filled with. Its type's name decides.
enum Parameter {
    OrchestrationContext,
    ActivityContext,
    HttpRequest,
    DurableClient,
    /// Any other type: the payload.
    Input(Box<Type>),
}

fn expand(kind: Kind, attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    let mut name = None;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("name") {
            return Err(meta.error("expected `name = \"…\"`"));
        }
        name = Some(meta.value()?.parse::<LitStr>()?);
        Ok(())
    });
    parse_macro_input!(attribute with parser);
    let registration = register(kind, &function, name).unwrap_or_else(Error::into_compile_error);
    quote! { #function #registration }.into()
}

fn register(kind: Kind, function: &ItemFn, name: Option<LitStr>) -> Result<Tokens> {
    check_signature(kind, function)?;
    let parameters = parameters(function)?;
    let name = match name {
        Some(name) if name.value().is_empty() || name.value().contains(char::is_control) => {
            return Err(Error::new(name.span(), "a function's name is not empty and has no control characters"));
        }
        Some(name) => name.value(),
        None => function.sig.ident.to_string().trim_start_matches("r#").to_owned(),
    };
    let run = match kind {
        Kind::Orchestrator => run_orchestrator(function, &parameters)?,
        Kind::Activity => run_activity(function, &parameters, &name)?,
        Kind::Http => run_http(function, &parameters)?,
    };
    let listing = listing(kind, &name);
    Ok(quote! {
        #[allow(clippy::all, unused_imports, unused_variables)]
        const _: () = {
            use ::soloist_sdk::__private::{ReturnedValue as _, ReturnedResponse as _};
            #listing
            ::soloist_sdk::__private::inventory::submit! {
                ::soloist_sdk::__private::Function { name: #name, run: #run }
            }
        };
    })
}

fn check_signature(kind: Kind, function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(parameter) = signature.generics.params.first() {
        return Err(Error::new_spanned(parameter, "a function that the host calls has no generic parameters"));
    }
    match (kind, signature.asyncness) {
        (Kind::Orchestrator, None) => {
            Err(Error::new_spanned(signature.fn_token, "an orchestrator is an `async fn`: it awaits its durable tasks"))
        }
        (Kind::Activity | Kind::Http, Some(asyncness)) => Err(Error::new_spanned(
            asyncness,
            "activities and HTTP triggers are plain functions; only orchestrators are async",
        )),
        (Kind::Orchestrator, Some(_)) | (Kind::Activity | Kind::Http, None) => Ok(()),
    }
}

fn parameters(function: &ItemFn) -> Result<Vec<Parameter>> {
    let mut parameters = Vec::new();
    for argument in &function.sig.inputs {
        let FnArg::Typed(argument) = argument else {
            return Err(Error::new_spanned(argument, "a function that the host calls has no `self`"));
        };
        let parameter = match type_name(&argument.ty).as_deref() {
            Some("OrchestrationContext") => Parameter::OrchestrationContext,
            Some("ActivityContext") => Parameter::ActivityContext,
            Some("HttpRequest") => Parameter::HttpRequest,
            Some("DurableClient") => Parameter::DurableClient,
            _ if parameters.iter().any(|parameter| matches!(parameter, Parameter::Input(_))) => {
                return Err(Error::new_spanned(argument, "there is one input; make it a struct or a tuple"));
            }
            _ => Parameter::Input(argument.ty.clone()),
        };
        parameters.push(parameter);
    }
    Ok(parameters)
}

/// The last segment of a type's path.
fn type_name(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    Some(path.path.segments.last()?.ident.to_string())
}

fn run_orchestrator(function: &ItemFn, parameters: &[Parameter]) -> Result<Tokens> {
    let ident = &function.sig.ident;
    let arguments = arguments(
        parameters,
        |parameter| match parameter {
            Parameter::OrchestrationContext => Ok(quote! { ctx.clone() }),
            Parameter::Input(ty) => Ok(quote! { ctx.input::<#ty>()? }),
            Parameter::DurableClient => Err(
                "an orchestrator has no durable client, for what it does must replay; call an activity that has one",
            ),
            Parameter::ActivityContext => Err("an orchestrator has an `OrchestrationContext`"),
            Parameter::HttpRequest => Err("an orchestrator has no HTTP request; give it what it needs as input"),
        },
        function,
    )?;
    Ok(quote! {
        ::soloist_sdk::__private::Run::Orchestrator(|ctx| ::std::boxed::Box::pin(async move {
            ::soloist_sdk::__private::output(
                ::soloist_sdk::__private::Returned(#ident(#(#arguments),*).await).into_result()?
            )
        }))
    })
}

fn run_activity(function: &ItemFn, parameters: &[Parameter], name: &str) -> Result<Tokens> {
    let ident = &function.sig.ident;
    let arguments = arguments(
        parameters,
        |parameter| match parameter {
            Parameter::ActivityContext => Ok(quote! { ctx.clone() }),
            Parameter::DurableClient => Ok(quote! { ::soloist_sdk::__private::durable_client() }),
            Parameter::Input(ty) => Ok(quote! { ::soloist_sdk::__private::activity_input::<#ty>(&input, #name)? }),
            Parameter::OrchestrationContext => Err("an activity has an `ActivityContext`"),
            Parameter::HttpRequest => Err("an activity has no HTTP request; give it what it needs as input"),
        },
        function,
    )?;
    Ok(quote! {
        ::soloist_sdk::__private::Run::Activity(|ctx, input| {
            ::soloist_sdk::__private::output(
                ::soloist_sdk::__private::Returned(#ident(#(#arguments),*)).into_result()?
            )
        })
    })
}

fn run_http(function: &ItemFn, parameters: &[Parameter]) -> Result<Tokens> {
    let ident = &function.sig.ident;
    let arguments = arguments(
        parameters,
        |parameter| match parameter {
            Parameter::HttpRequest => Ok(quote! { req }),
            Parameter::DurableClient => Ok(quote! { ::soloist_sdk::__private::durable_client() }),
            Parameter::Input(_) => {
                Err("an HTTP trigger has an `HttpRequest` and a `DurableClient`; read the body with `req.json()`")
            }
            Parameter::OrchestrationContext | Parameter::ActivityContext => Err("an HTTP trigger has an `HttpRequest`"),
        },
        function,
    )?;
    Ok(quote! {
        ::soloist_sdk::__private::Run::Http(|req| {
            ::soloist_sdk::__private::Returned(#ident(#(#arguments),*)).into_response()
        })
    })
}

/// The expression for each parameter, or an error that points at the parameter that does not belong there.
fn arguments(
    parameters: &[Parameter],
    argument: impl Fn(&Parameter) -> std::result::Result<Tokens, &'static str>,
    function: &ItemFn,
) -> Result<Vec<Tokens>> {
    parameters
        .iter()
        .zip(&function.sig.inputs)
        .map(|(parameter, written)| argument(parameter).map_err(|message| Error::new_spanned(written, message)))
        .collect()
}

/// The line in the component's list of functions.
fn listing(kind: Kind, name: &str) -> Tokens {
    let kind = match kind {
        Kind::Orchestrator => "orchestrator",
        Kind::Activity => "activity",
        Kind::Http => "http",
    };
    let line = format!("{kind} {name}\n");
    let (length, bytes) = (line.len(), Literal::byte_string(line.as_bytes()));
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[used]
        #[unsafe(link_section = "soloist-functions")]
        static LISTING: [u8; #length] = *#bytes;
    }
}
