//! Entities that are structs: an `impl` block whose methods are the operations.

use crate::{Kind, Parameter, announcement, arguments, function_name, parameters, plain, type_name};
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::{Error, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, PathArguments, Result, ReturnType, Type};

/// Announces the struct as an entity.
pub(crate) fn register(methods: &ItemImpl, name: Option<LitStr>, proxy: Option<&Ident>) -> Result<Tokens> {
    if let Some((_, path, _)) = &methods.trait_ {
        return Err(Error::new_spanned(path, "an entity's operations are methods of its own, not of a trait"));
    }
    if let Some(parameter) = methods.generics.params.first() {
        return Err(Error::new_spanned(parameter, "an entity has no generic parameters"));
    }
    let state = &*methods.self_ty;
    let Type::Path(path) = state else {
        return Err(Error::new_spanned(state, "an entity is a struct or an enum"));
    };
    let ident = &path.path.segments.last().expect("a path has a segment").ident;
    let name = function_name(name, ident)?;
    let (mut operations, mut calls, mut init) = (Vec::new(), Vec::new(), None);
    for item in &methods.items {
        let ImplItem::Fn(method) = item else { continue };
        if method.sig.receiver().is_some() {
            operations.push(operation(state, method)?);
            calls.push(typed_call(method)?);
        } else if method.sig.ident == "init" {
            init = Some(initial(state, method)?);
        }
    }
    let init = init.unwrap_or_else(|| quote! { |_ctx| ::std::result::Result::Ok(::std::default::Default::default()) });
    let run = quote! {
        ::soloist_sdk::__private::Run::Entity(|| {
            static OPERATIONS: &[::soloist_sdk::__private::Operation<#state>] = &[#(#operations),*];
            ::std::boxed::Box::new(::soloist_sdk::__private::Methods::<#state>::new(OPERATIONS, #init))
        })
    };
    let announcement = announcement(Kind::Entity, &name, &run);
    let proxy = proxy.map(|proxy| typed_proxy(proxy, &name, &calls));
    Ok(quote! { #announcement #proxy })
}

/// The entry for a method.
fn operation(state: &Type, method: &ImplItemFn) -> Result<Tokens> {
    check(method)?;
    let receiver = method.sig.receiver().expect("only methods come here");
    let kind = match (&receiver.reference, &receiver.mutability) {
        (None, _) => {
            return Err(Error::new_spanned(receiver, "an operation takes `&mut self`, or `&self` if it only reads"));
        }
        (Some(_), Some(_)) => quote! { Write },
        (Some(_), None) => quote! { Read },
    };
    let (ident, name) = (&method.sig.ident, plain(&method.sig.ident));
    let arguments = arguments(&parameters(&method.sig)?, argument, &method.sig)?;
    Ok(quote! {
        ::soloist_sdk::__private::Operation {
            name: #name,
            method: ::soloist_sdk::__private::Method::#kind(|state, __ctx| {
                ::soloist_sdk::__private::output(
                    ::soloist_sdk::__private::Returned(<#state>::#ident(state, #(#arguments),*)).into_result()?
                )
            }),
        }
    })
}

/// The struct by which orchestrations of the same crate call the entity.
fn typed_proxy(proxy: &Ident, name: &str, calls: &[Tokens]) -> Tokens {
    let doc = format!("The entity `{name}`, as orchestrations of this crate see it.");
    quote! {
        #[doc = #doc]
        #[allow(dead_code)]
        #[derive(Clone)]
        pub(crate) struct #proxy(::soloist_sdk::Entity);

        #[allow(dead_code, private_interfaces)]
        impl #proxy {
            /// The entity under this key.
            pub(crate) fn new(
                ctx: &::soloist_sdk::OrchestrationContext,
                key: impl ::std::convert::Into<::std::string::String>,
            ) -> Self {
                Self(ctx.entity(#name, key))
            }

            /// The same entity for calls by name, and to be locked.
            pub(crate) fn entity(&self) -> &::soloist_sdk::Entity {
                &self.0
            }

            #(#calls)*
        }
    }
}

/// The methods of the proxy that call and signal this operation.
fn typed_call(method: &ImplItemFn) -> Result<Tokens> {
    let (call, name) = (&method.sig.ident, plain(&method.sig.ident));
    let signal = format_ident!("signal_{name}");
    let input = parameters(&method.sig)?.into_iter().find_map(|parameter| match parameter {
        Parameter::Input(ty) => Some(ty),
        _ => None,
    });
    let (parameter, value) = match input {
        Some(ty) => (quote! { input: &#ty }, quote! { input }),
        None => (quote! {}, quote! { &() }),
    };
    let output = output(&method.sig.output);
    let (calls, signals) = (format!("Calls `{name}`."), format!("Signals `{name}`."));
    Ok(quote! {
        #[doc = #calls]
        pub(crate) fn #call(&self, #parameter) -> ::soloist_sdk::Task<#output> {
            self.0.call(#name, #value)
        }

        #[doc = #signals]
        pub(crate) fn #signal(&self, #parameter) -> ::soloist_sdk::Result<()> {
            self.0.signal(#name, #value)
        }
    })
}

/// What a caller gets: of a `Result` the value.
fn output(written: &ReturnType) -> Tokens {
    let ReturnType::Type(_, ty) = written else { return quote! { () } };
    if let Type::Path(path) = &**ty
        && let Some(last) = path.path.segments.last()
        && last.ident == "Result"
        && let PathArguments::AngleBracketed(arguments) = &last.arguments
        && let Some(value) = arguments.args.first()
    {
        return quote! { #value };
    }
    quote! { #ty }
}

/// The closure that makes the state of an entity that does not exist yet.
fn initial(state: &Type, method: &ImplItemFn) -> Result<Tokens> {
    check(method)?;
    let takes_context = |parameter: &Parameter| match parameter {
        Parameter::Input(_) => Err("`init` takes an `EntityContext` at most: it serves whatever operation comes first"),
        other => argument(other),
    };
    let arguments = arguments(&parameters(&method.sig)?, takes_context, &method.sig)?;
    Ok(quote! { |__ctx| ::soloist_sdk::__private::Returned(<#state>::init(#(#arguments),*)).into_result() })
}

fn check(method: &ImplItemFn) -> Result<()> {
    if let Some(asyncness) = &method.sig.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            "an entity's operations are plain functions; only orchestrators are async",
        ));
    }
    if let Some(parameter) = method.sig.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "an operation has no generic parameters; put other methods into another `impl` block",
        ));
    }
    Ok(())
}

/// The expression for a parameter of an operation.
pub(crate) fn argument(parameter: &Parameter) -> std::result::Result<Tokens, &'static str> {
    match parameter {
        Parameter::EntityContext => Ok(quote! { __ctx.clone() }),
        Parameter::Input(ty) if matches!(**ty, Type::Reference(_)) => {
            Err(if is_context(ty) { "take the `EntityContext` by value" } else { "take the input by value" })
        }
        Parameter::Input(ty) => Ok(quote! { __ctx.get_input::<#ty>()? }),
        Parameter::DurableClient => Err(
            "an entity has no durable client, for its operations must be repeatable; its context signals and starts",
        ),
        Parameter::OrchestrationContext | Parameter::ActivityContext | Parameter::TimerInfo => {
            Err("an entity has an `EntityContext`")
        }
        Parameter::HttpRequest => Err("an entity has no HTTP request; give it what it needs as input"),
    }
}

fn is_context(ty: &Type) -> bool {
    let Type::Reference(reference) = ty else { return false };
    type_name(&reference.elem).as_deref() == Some("EntityContext")
}
