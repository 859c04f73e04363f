//! The attribute macros of `soloist-sdk`; their documentation is there.
//!
//! Each leaves the function (or the `impl` block) as it is, so that tests can call it, and adds beside it:
//! - an entry in the SDK's registry with the code that turns payloads into parameters and results into payloads;
//! - on wasm, a line `<kind> <name>` in the custom section `soloist-functions`, by which the host can list what a component
//!   holds without running it.

mod entity;

use proc_macro::TokenStream;
use proc_macro2::{Literal, TokenStream as Tokens};
use quote::quote;
use syn::{Error, FnArg, Item, ItemFn, LitStr, Result, Signature, Type, parse_macro_input};

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

#[proc_macro_attribute]
#[doc = "See `soloist_sdk::timer_trigger`."]
pub fn timer_trigger(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(Kind::Timer, attribute, item)
}

#[proc_macro_attribute]
#[doc = "See `soloist_sdk::entity`."]
pub fn entity(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as Item);
    let (mut name, mut proxy) = (None, None);
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("proxy") {
            proxy = Some(meta.value()?.parse::<syn::Ident>()?);
            return Ok(());
        }
        name_argument(&mut name, meta)
    });
    parse_macro_input!(attribute with parser);
    let registration = match &item {
        Item::Impl(methods) => entity::register(methods, name, proxy.as_ref()),
        Item::Fn(function) if proxy.is_some() => {
            Err(Error::new_spanned(&function.sig.ident, "a proxy is made of methods, and this entity is a function"))
        }
        Item::Fn(function) => register(Kind::Entity, function, name),
        other => Err(Error::new_spanned(other, "an entity is an `impl` block of a struct, or a function")),
    };
    let registration = registration.unwrap_or_else(Error::into_compile_error);
    quote! { #item #registration }.into()
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Orchestrator,
    Activity,
    Http,
    Timer,
    Entity,
}

/// What a parameter is filled with. Its type's name decides.
enum Parameter {
    OrchestrationContext,
    ActivityContext,
    EntityContext,
    HttpRequest,
    TimerInfo,
    DurableClient,
    /// Any other type: the payload.
    Input(Box<Type>),
}

fn expand(kind: Kind, attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    let mut name = None;
    let parser = syn::meta::parser(|meta| name_argument(&mut name, meta));
    parse_macro_input!(attribute with parser);
    let registration = register(kind, &function, name).unwrap_or_else(Error::into_compile_error);
    quote! { #function #registration }.into()
}

fn name_argument(name: &mut Option<LitStr>, meta: syn::meta::ParseNestedMeta) -> Result<()> {
    if !meta.path.is_ident("name") {
        return Err(meta.error("expected `name = \"…\"`"));
    }
    *name = Some(meta.value()?.parse::<LitStr>()?);
    Ok(())
}

fn register(kind: Kind, function: &ItemFn, name: Option<LitStr>) -> Result<Tokens> {
    check_signature(kind, function)?;
    let parameters = parameters(&function.sig)?;
    let name = function_name(name, &function.sig.ident)?;
    let run = match kind {
        Kind::Orchestrator => run_orchestrator(function, &parameters)?,
        Kind::Activity => run_activity(function, &parameters, &name)?,
        Kind::Http => run_http(function, &parameters)?,
        Kind::Timer => run_timer(function, &parameters)?,
        Kind::Entity => run_entity(function, &parameters)?,
    };
    Ok(announcement(kind, &name, &run))
}

/// The name that the attribute gives, else that of the item.
fn function_name(name: Option<LitStr>, ident: &syn::Ident) -> Result<String> {
    match name {
        Some(name) if name.value().is_empty() || name.value().contains(char::is_control) => {
            Err(Error::new(name.span(), "a function's name is not empty and has no control characters"))
        }
        Some(name) => Ok(name.value()),
        None => Ok(plain(ident)),
    }
}

/// An identifier without the mark of a raw one.
fn plain(ident: &syn::Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

/// What puts a function into the registry and into the component's list.
fn announcement(kind: Kind, name: &str, run: &Tokens) -> Tokens {
    let listing = listing(kind, name);
    quote! {
        #[allow(clippy::all, unused_imports, unused_variables)]
        const _: () = {
            use ::soloist_sdk::__private::{ReturnedValue as _, ReturnedResponse as _};
            #listing
            ::soloist_sdk::__private::inventory::submit! {
                ::soloist_sdk::__private::Function { name: #name, run: #run }
            }
        };
    }
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
        (Kind::Activity | Kind::Http | Kind::Timer | Kind::Entity, Some(asyncness)) => Err(Error::new_spanned(
            asyncness,
            "activities, entities and triggers are plain functions; only orchestrators are async",
        )),
        (Kind::Orchestrator, Some(_)) | (Kind::Activity | Kind::Http | Kind::Timer | Kind::Entity, None) => Ok(()),
    }
}

fn parameters(signature: &Signature) -> Result<Vec<Parameter>> {
    let mut parameters = Vec::new();
    for argument in &signature.inputs {
        let FnArg::Typed(argument) = argument else {
            continue; // `self`, which only the methods of an entity have
        };
        let parameter = match type_name(&argument.ty).as_deref() {
            Some("OrchestrationContext") => Parameter::OrchestrationContext,
            Some("ActivityContext") => Parameter::ActivityContext,
            Some("EntityContext") => Parameter::EntityContext,
            Some("HttpRequest") => Parameter::HttpRequest,
            Some("TimerInfo") => Parameter::TimerInfo,
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

// The names of the closures' parameters are none that a function has: they would hide it.

fn run_orchestrator(function: &ItemFn, parameters: &[Parameter]) -> Result<Tokens> {
    let ident = &function.sig.ident;
    let arguments = arguments(
        parameters,
        |parameter| match parameter {
            Parameter::OrchestrationContext => Ok(quote! { __ctx.clone() }),
            Parameter::Input(ty) => Ok(quote! { __ctx.input::<#ty>()? }),
            Parameter::DurableClient => Err(
                "an orchestrator has no durable client, for what it does must replay; call an activity that has one",
            ),
            Parameter::ActivityContext | Parameter::EntityContext | Parameter::TimerInfo => {
                Err("an orchestrator has an `OrchestrationContext`")
            }
            Parameter::HttpRequest => Err("an orchestrator has no HTTP request; give it what it needs as input"),
        },
        &function.sig,
    )?;
    Ok(quote! {
        ::soloist_sdk::__private::Run::Orchestrator(|__ctx| ::std::boxed::Box::pin(async move {
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
            Parameter::ActivityContext => Ok(quote! { __ctx.clone() }),
            Parameter::DurableClient => Ok(quote! { ::soloist_sdk::__private::durable_client() }),
            Parameter::Input(ty) => Ok(quote! { ::soloist_sdk::__private::activity_input::<#ty>(&__input, #name)? }),
            Parameter::OrchestrationContext | Parameter::EntityContext | Parameter::TimerInfo => {
                Err("an activity has an `ActivityContext`")
            }
            Parameter::HttpRequest => Err("an activity has no HTTP request; give it what it needs as input"),
        },
        &function.sig,
    )?;
    Ok(quote! {
        ::soloist_sdk::__private::Run::Activity(|__ctx, __input| {
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
            Parameter::HttpRequest => Ok(quote! { __req }),
            Parameter::DurableClient => Ok(quote! { ::soloist_sdk::__private::durable_client() }),
            Parameter::Input(_) => {
                Err("an HTTP trigger has an `HttpRequest` and a `DurableClient`; read the body with `req.json()`")
            }
            Parameter::OrchestrationContext
            | Parameter::ActivityContext
            | Parameter::EntityContext
            | Parameter::TimerInfo => Err("an HTTP trigger has an `HttpRequest`"),
        },
        &function.sig,
    )?;
    Ok(quote! {
        ::soloist_sdk::__private::Run::Http(|__req| {
            ::soloist_sdk::__private::Returned(#ident(#(#arguments),*)).into_response()
        })
    })
}

fn run_timer(function: &ItemFn, parameters: &[Parameter]) -> Result<Tokens> {
    let ident = &function.sig.ident;
    let arguments = arguments(
        parameters,
        |parameter| match parameter {
            Parameter::TimerInfo => Ok(quote! { __timer }),
            Parameter::DurableClient => Ok(quote! { ::soloist_sdk::__private::durable_client() }),
            Parameter::Input(_) => Err("a timer trigger has a `TimerInfo` and a `DurableClient`, and no input"),
            Parameter::OrchestrationContext
            | Parameter::ActivityContext
            | Parameter::EntityContext
            | Parameter::HttpRequest => Err("a timer trigger has a `TimerInfo`"),
        },
        &function.sig,
    )?;
    Ok(quote! {
        ::soloist_sdk::__private::Run::Timer(|__timer| {
            let () = ::soloist_sdk::__private::Returned(#ident(#(#arguments),*)).into_result()?;
            ::std::result::Result::Ok(())
        })
    })
}

/// An entity that is a function.
fn run_entity(function: &ItemFn, parameters: &[Parameter]) -> Result<Tokens> {
    let ident = &function.sig.ident;
    let arguments = arguments(parameters, entity::argument, &function.sig)?;
    Ok(quote! {
        ::soloist_sdk::__private::Run::Entity(|| {
            ::std::boxed::Box::new(::soloist_sdk::__private::EntityFunction(|__ctx| {
                ::soloist_sdk::__private::output(
                    ::soloist_sdk::__private::Returned(#ident(#(#arguments),*)).into_result()?
                )
            }))
        })
    })
}

/// The expression for each parameter, or an error that points at the parameter that does not belong there.
fn arguments(
    parameters: &[Parameter],
    argument: impl Fn(&Parameter) -> std::result::Result<Tokens, &'static str>,
    signature: &Signature,
) -> Result<Vec<Tokens>> {
    parameters
        .iter()
        .zip(signature.inputs.iter().filter(|argument| matches!(argument, FnArg::Typed(_))))
        .map(|(parameter, written)| argument(parameter).map_err(|message| Error::new_spanned(written, message)))
        .collect()
}

/// The line in the component's list of functions.
fn listing(kind: Kind, name: &str) -> Tokens {
    let kind = match kind {
        Kind::Orchestrator => "orchestrator",
        Kind::Activity => "activity",
        Kind::Http => "http",
        Kind::Timer => "timer",
        Kind::Entity => "entity",
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
